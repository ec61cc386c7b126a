"""`evaluate`: accuracy and calibration of models on labeled photos."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import click

from vgg_demo.analysis.evaluation import Evaluation, Evaluator, Proportion
from vgg_demo.analysis.ground_truth import ground_truth_reader, read_ground_truth
from vgg_demo.cli.console import log, pluralize, print_result
from vgg_demo.cli.options import (
    models_option,
    read_settings,
    read_text,
    resize_option,
    weights_dir_option,
)
from vgg_demo.cli.progress import (
    classify_with_progress,
    find_specs,
    is_terminal,
    open_store,
    paths_argument,
)
from vgg_demo.errors import NoPhotosError
from vgg_demo.files.sources import count_photos, find_photos
from vgg_demo.inference.results import SCHEMA


@click.command("evaluate", epilog="Example: vgg-demo evaluate photos/ --model mobilenet_v2")
@paths_argument
@models_option
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV table with the columns image and label. Default: read labels from file and folder "
    "names.",
)
@click.option(
    "--limit",
    type=click.IntRange(0, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Maximum number of classes, confusions and mistakes to list.",
)
@resize_option
@weights_dir_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the results as JSON, with all classes."
)
def evaluate_command(
    paths: tuple[str, ...],
    models: tuple[str, ...],
    labels: Path | None,
    limit: int,
    resize: str,
    weights_dir: str | None,
    as_json: bool,
) -> None:
    """Measure the accuracy of models on labeled photos.

    PATHS are photos, folders (searched recursively), archives and glob patterns.

    The label of a photo is a WordNet ID in its file or folder name (n02123045_7.jpg), or the
    name of a class as its folder (tabby/7.jpg) or file name (tabby.7.jpg), or comes from a
    table (--labels). A label can also name a group of classes, such as dog: then any class of
    the group is correct. For a custom model, labels are the names of its classes.
    """
    settings = read_settings(weights_dir)
    specs = find_specs(models, settings)
    table = read_text(labels) if labels else None
    readers = {
        spec.name: ground_truth_reader(spec.classes)
        if table is None
        else read_ground_truth(table, spec.classes)
        for spec in specs
    }
    store = open_store(specs, settings)
    evaluators = {spec.name: Evaluator(spec) for spec in specs}
    without_class = Counter[str]()
    failed = labeled = unlabeled = 0
    sources = find_photos(paths, settings.limits)
    total = count_photos(paths) if is_terminal() else None
    for row in classify_with_progress(sources, specs, store, settings, resize, total=total):
        failed += row.failure is not None
        truths = {model: read(row.source.name) for model, read in readers.items()}
        is_labeled = any(truth is not None for truth in truths.values())
        labeled += bool(row.results) and is_labeled
        unlabeled += bool(row.results) and not is_labeled
        for result in row.results:
            truth = truths[result.model]
            if is_labeled and (truth is None or not evaluators[result.model].add(result, truth)):
                without_class[result.model] += 1
    if unlabeled:
        log(f"Skipped {pluralize(unlabeled, 'photo')} without a known label.")
    for model, count in without_class.items():
        photos = pluralize(count, "photo")
        log(f"{model}: skipped {photos} with a label that is not one of its classes.")
    if not labeled:
        raise NoPhotosError(
            "None of the photos has a known label. Name files or folders after their class "
            "(tabby.jpg, tabby/7.jpg, n02123045_7.jpg), or pass a table with --labels."
        )
    if not any(evaluator.count for evaluator in evaluators.values()):
        raise NoPhotosError("No photo can be evaluated. Choose a model that has these classes.")
    evaluations = [evaluator.evaluate() for evaluator in evaluators.values()]
    if as_json:
        document = {
            "schema": SCHEMA,
            "resize": resize,
            "unknown": unlabeled,
            "without_class": dict(without_class),
            "failed": failed,
            "evaluations": [evaluation.to_dict(limit) for evaluation in evaluations],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        for evaluation in evaluations:
            if evaluation.top1.count:
                print_evaluation(evaluation, limit)
    sys.exit(1 if failed else 0)


def print_evaluation(evaluation: Evaluation, limit: int) -> None:
    """Prints an evaluation with at most `limit` classes, confusions and mistakes."""
    photos = pluralize(evaluation.top1.count, "photo")
    classes = pluralize(len(evaluation.classes), "class", "classes")
    print_result(f"{evaluation.model} on {photos} of {classes}")
    print_result(f"  top-1 accuracy      {_describe_proportion(evaluation.top1)}")
    print_result(f"  top-5 accuracy      {_describe_proportion(evaluation.top5)}")
    print_result(f"  calibration error   {evaluation.calibration_error:>6.1%}")
    print_result(f"  best temperature    {evaluation.temperature:>6.2f}")
    print_result("  accuracy by predicted probability")
    for interval in evaluation.bins:
        if interval.count:
            print_result(
                f"    {interval.low:>4.0%} to {interval.high:>4.0%}: "
                f"{interval.accuracy:>4.0%} of {pluralize(interval.count, 'photo')}"
            )
    weakest = sorted(evaluation.classes, key=lambda score: score.top1.value)[:limit]
    if weakest:
        print_result("  least accurate classes")
    for score in weakest:
        print_result(f"    {score.top1.correct} of {score.top1.count}  {score.label.label}")
    if evaluation.confusions[:limit]:
        print_result("  most frequent confusions")
    for confusion in evaluation.confusions[:limit]:
        print_result(
            f"    {confusion.count}×  {confusion.truth.label} predicted as "
            f"{confusion.predicted.label}"
        )
    if evaluation.mistakes[:limit]:
        print_result("  worst mistakes")
    for mistake in evaluation.mistakes[:limit]:
        print_result(
            f"    {mistake.file}: predicted {mistake.predicted.label} "
            f"{mistake.predicted.probability:.0%}, true class {mistake.truth.label} "
            f"{mistake.truth_probability:.0%}"
        )


def _describe_proportion(proportion: Proportion) -> str:
    low, high = proportion.interval
    return (
        f"{proportion.value:>6.1%}  ({proportion.correct:,} of {proportion.count:,}; "
        f"95% confidence interval {low:.1%} to {high:.1%})"
    )
