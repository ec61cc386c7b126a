"""`compare`: predictions, time and memory of several models on one photo."""

from __future__ import annotations

import csv
import io
import json
import sys

import click

from vgg_demo.analysis.comparison import (
    DEFAULT_REPEAT,
    Comparison,
    ModelFailure,
    ModelResult,
    compare,
)
from vgg_demo.analysis.verdict import interpret, one_line
from vgg_demo.cli.console import load_photo, log, prepare_model, print_result
from vgg_demo.cli.options import (
    format_megabytes,
    read_settings,
    resize_option,
    top_option,
    weights_dir_option,
)
from vgg_demo.cli.progress import find_specs
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.labels import with_article
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import find_weights


@click.command("compare", epilog="Example: vgg-demo compare cat.jpg --models vgg16,resnet50")
@click.argument("photo")
@click.option(
    "--models",
    metavar="NAMES",
    help="Model names, separated by commas. Default: all installed models.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=DEFAULT_REPEAT,
    show_default=True,
    metavar="N",
    help="Number of timed runs per model.",
)
@top_option
@resize_option
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the results as CSV, one row per model.")
def compare_command(
    photo: str,
    models: str | None,
    repeat: int,
    top: int,
    resize: str,
    weights_dir: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Compare models on one photo.

    Classify PHOTO with each model, measure time and memory, and show what the models agree on.

    "time" is the median of the timed runs of the loaded model, without decoding and
    preprocessing the photo. "top-1" is the published top-1 accuracy on the named test set.
    """
    if as_json and as_csv:
        raise click.UsageError("Use either --json or --csv, not both.")
    settings = read_settings(weights_dir)
    specs = _resolve_models(models, settings)
    opened, store = load_photo(photo, settings.limits), ModelStore(settings)
    outcomes: list[ModelResult | ModelFailure] = []
    for outcome in compare(
        opened,
        specs,
        store,
        resize=Resize(resize),
        repeat=repeat,
        prepare_model=lambda spec: prepare_model(spec, store, settings),
    ):
        if isinstance(outcome, ModelFailure):
            log(f"{outcome.model}: {outcome.message}")
        elif not (as_json or as_csv):
            if not any(isinstance(earlier, ModelResult) for earlier in outcomes):
                print_result(f"{'model':<19}{'time':>10}{'memory':>9}  {'top-1':<16}prediction")
            _print_model_result(outcome)
        outcomes.append(outcome)
    comparison = Comparison.of(outcomes)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(top), indent=2))
    elif as_csv:
        _print_csv(comparison)
    else:
        _print_agreement(comparison)
    sys.exit(1 if comparison.failures else 0)


def _resolve_models(models: str | None, settings: Settings) -> list[ModelSpec]:
    """Returns the specs of the named models, or of all installed models if none is named."""
    if models is None:
        return [spec for spec in MODELS.values() if find_weights(spec, settings)]
    names = [name for name in models.split(",") if name.strip()]
    if not names:
        raise click.UsageError("--models is empty. Separate model names with commas.")
    return find_specs(names, settings)


def _print_model_result(result: ModelResult) -> None:
    unverified = "" if result.classification.weights.verified else " (unverified weights)"
    accuracy = result.spec.accuracy
    published = (
        f"{accuracy.top1:.1f}% {accuracy.test_set.split()[0]}" if accuracy else "not published"
    )
    print_result(
        f"{result.classification.model:<19}{1000 * result.median_seconds:>7.1f} ms"
        f"{format_megabytes(result.memory_bytes):>9}  {published:<16}"
        f"{one_line(interpret(result.classification))}{unverified}"
    )


def _print_agreement(comparison: Comparison) -> None:
    count = len(comparison.results)
    for consensus in comparison.consensus():
        agreeing = len(consensus.models)
        models = f"all {count}" if agreeing == count else f"{agreeing} of {count}"
        print_result(f"{models} predict: {with_article(consensus.label)}")
    if count > 1 and not comparison.consensus():
        print_result("The models disagree: no class has a majority.")
    if ensemble := comparison.ensemble():
        print_result(f"average of {len(ensemble.models)} models: {one_line(ensemble.verdict())}")


def _print_csv(comparison: Comparison) -> None:
    rows = comparison.rows()
    if rows:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        click.echo(table.getvalue(), nl=False)
