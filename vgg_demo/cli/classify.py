"""`classify`: classify photos."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from vgg_demo.analysis.verdict import describe_classes, interpret, one_line
from vgg_demo.cli.console import (
    load_photo,
    log,
    log_failure,
    prepare_model,
    print_result,
    prompt_for_paths,
)
from vgg_demo.cli.options import read_settings, resize_option, top_option, weights_dir_option
from vgg_demo.cli.outputs import annotated_saver
from vgg_demo.errors import ModelError, VggDemoError
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.models.lookup import find_spec
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL
from vgg_demo.reports.document import to_document


@click.command("classify", epilog="Example: vgg-demo classify cat.jpg dog.jpg --top 3")
@click.argument("photos", nargs=-1, metavar="[PHOTO]...")
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME",
    help="Model name (see 'vgg-demo models') or path of a bundle.",
)
@top_option
@resize_option
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option(
    "--annotate",
    "annotate_dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save each photo as a PNG in this folder, with the top prediction drawn on it.",
)
def classify_command(
    photos: tuple[str, ...],
    model: str,
    top: int,
    resize: str,
    weights_dir: str | None,
    as_json: bool,
    annotate_dir: Path | None,
) -> None:
    """Classify photos.

    Without PHOTO, prompt for paths until EXIT or end of input.
    """
    settings = read_settings(weights_dir)
    spec = find_spec(model, settings.bundles_dir)
    save = annotated_saver(annotate_dir) if annotate_dir is not None else None
    store = ModelStore(settings)
    results: list[Classification] = []
    failures: list[Failure] = []
    model_error: ModelError | None = None
    for path in photos or prompt_for_paths():
        try:
            # Decode first: a photo that cannot be used is reported before a download starts.
            photo = load_photo(path, settings.limits)
            if model_error is not None and photos:
                raise model_error  # do not try the same failing download again for each photo
            prepare_model(spec, store, settings)
            result = classify_photo(photo, spec, store, resize=Resize(resize))
            if not results and describe_classes(spec):
                log(describe_classes(spec))
            results.append(result)
            if not as_json:
                _print_classification(result, top)
            if save is not None:
                log(f"Saved {save(photo.image, result)}")
        except VggDemoError as error:
            failures.append(Failure(path, type(error).__name__, str(error)))
            log_failure(path, str(error))
            if isinstance(error, ModelError):
                if model_error is None and not spec.is_embedded:
                    log(f"Always available: --model {EMBEDDED_MODEL}")
                model_error = error
    if as_json:
        # ASCII, because a file name may contain bytes that are not text.
        click.echo(json.dumps(to_document(results, failures, top), indent=2))
    sys.exit(1 if failures else 0)


def _print_classification(result: Classification, top: int) -> None:
    unverified = "" if result.weights.verified else ", unverified weights"
    milliseconds = 1000 * result.seconds.inference
    print_result(f"{result.file}  ({result.model}{unverified}, {milliseconds:.0f} ms)")
    print_result(f"  {one_line(interpret(result))}")
    for prediction in result.predictions(top):
        print_result(f"  {prediction.probability:>7.2%}  {prediction.label}  [{prediction.wnid}]")
