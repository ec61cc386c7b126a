"""`classify`: what is on photos."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from vgg_demo.analysis.verdict import interpret, one_line, scope
from vgg_demo.cli.console import load_photo, log, prepare_model, print_result, prompt_for_paths
from vgg_demo.cli.options import read_settings, resize_option, top_option, weights_dir_option
from vgg_demo.cli.outputs import annotated_saver
from vgg_demo.errors import ModelError, VggDemoError
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.catalog import find_spec
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL
from vgg_demo.reports.document import to_document


@click.command("classify", epilog="Example: vgg-demo classify cat.jpg dog.jpg --top 3")
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME",
    help="Which model answers; `models` lists all.",
)
@top_option
@resize_option
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--annotate",
    "annotate_into",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save each photo there as PNG with the first answer written on it.",
)
def classify_command(
    paths: tuple[str, ...],
    model: str,
    top: int,
    resize: str,
    weights_dir: str | None,
    as_json: bool,
    annotate_into: Path | None,
) -> None:
    """Says what is on photos.

    With no PATHS, asks for one path after the other until EXIT or the end of input.
    """
    settings = read_settings(weights_dir)
    spec = find_spec(model, settings.bundles_dir)
    save = annotated_saver(annotate_into) if annotate_into is not None else None
    store = ModelStore(settings)
    results: list[Classification] = []
    failures: list[Failure] = []
    lost: ModelError | None = None
    for path in paths or prompt_for_paths():
        try:
            # Opened first: a bad photo is told of before any download starts.
            photo = load_photo(path, settings.limits)
            if lost is not None and paths:
                raise lost  # nobody waits for the same dead server once more for each photo
            prepare_model(spec, store, settings)
            result = classify_photo(photo, spec, store, resize=Resize(resize))
            if not results and scope(spec):
                log(scope(spec))
            results.append(result)
            if not as_json:
                _print_result(result, top)
            if save is not None:
                log(f"Saved {save(photo.image, result)}")
        except VggDemoError as error:
            failures.append(Failure(path, type(error).__name__, str(error)))
            log(f"{path}: {error}")
            if isinstance(error, ModelError):
                if lost is None and not spec.is_embedded:
                    log(f"What always answers: --model {EMBEDDED_MODEL}")
                lost = error
    if as_json:
        # ASCII, because a file name may hold bytes that are no text.
        click.echo(json.dumps(to_document(results, failures, top), indent=2))
    sys.exit(1 if failures else 0)


def _print_result(result: Classification, top: int) -> None:
    unverified = "" if result.weights.verified else ", unverified weights"
    milliseconds = 1000 * result.seconds.inference
    print_result(f"{result.file}  ({result.model}{unverified}, {milliseconds:.0f} ms)")
    print_result(f"  {one_line(interpret(result))}")
    for prediction in result.predictions(top):
        print_result(f"  {prediction.probability:>7.2%}  {prediction.label}  [{prediction.wnid}]")
