"""`evaluate`: how often models are right where the truth is known."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import click

from vgg_demo.analysis.evaluation import Evaluation, Evaluator, Proportion
from vgg_demo.analysis.ground_truth import ground_truth_reader, read_ground_truth
from vgg_demo.cli.console import log, print_result
from vgg_demo.cli.options import (
    models_option,
    read_settings,
    read_text,
    resize_option,
    weights_dir_option,
)
from vgg_demo.cli.progress import (
    choose,
    classify_with_progress,
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
    metavar="CSV",
    help="A table with the columns image and label; without it, the truth is read from names.",
)
@click.option(
    "--most",
    type=click.IntRange(0, 1000),
    default=5,
    show_default=True,
    help="How many classes, confusions and mistakes to list.",
)
@resize_option
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with all classes.")
def evaluate_command(
    paths: tuple[str, ...],
    models: tuple[str, ...],
    labels: Path | None,
    most: int,
    resize: str,
    weights_dir: str | None,
    as_json: bool,
) -> None:
    """Says how often models are right on PATHS: photos, folders, archives, patterns.

    What is really on a photo is read from a WordNet ID in its name or its folder's
    (n02123045_7.jpg), from its folder (tabby/7.jpg) or its name (tabby.7.jpg) where that is a
    class, or from a table. A kind of thing is right as any class of that kind. For a taught model
    folders and photos are named as what it was taught.
    """
    settings = read_settings(weights_dir)
    specs = choose(models, settings)
    table = read_text(labels) if labels else None
    finders = {
        spec.name: ground_truth_reader(spec.classes)
        if table is None
        else read_ground_truth(table, spec.classes)
        for spec in specs
    }
    store = open_store(specs, settings)
    tallies = {spec.name: Evaluator(spec) for spec in specs}
    without_class = Counter[str]()
    failed = known = unknown = 0
    sources = find_photos(paths, settings.limits)
    total = count_photos(paths) if is_terminal() else None
    for row in classify_with_progress(sources, specs, store, settings, resize, total=total):
        failed += row.failure is not None
        truths = {model: find(row.source.name) for model, find in finders.items()}
        is_known = any(truth is not None for truth in truths.values())
        known += bool(row.results) and is_known
        unknown += bool(row.results) and not is_known
        for result in row.results:
            truth = truths[result.model]
            if is_known and (truth is None or not tallies[result.model].add(result, truth)):
                without_class[result.model] += 1
    if unknown:
        log(f"Of {unknown:,} photos the truth is not known; they do not count.")
    for model, count in without_class.items():
        log(f"{model} has no class for what is on {count:,} photos; they do not count for it.")
    if not known:
        raise NoPhotosError(
            "Of none of these photos the truth is known. Name them or their folders after "
            "what is on them (tabby.jpg, tabby/7.jpg, n02123045_7.jpg), or give a table with "
            "--labels."
        )
    if not any(evaluator.count for evaluator in tallies.values()):
        raise NoPhotosError("So none of the photos counts. Choose a model that knows such things.")
    evaluations = [evaluator.evaluate() for evaluator in tallies.values()]
    if as_json:
        found = [evaluation.to_dict(most) for evaluation in evaluations]
        document = {
            "schema": SCHEMA,
            "resize": resize,
            "unknown": unknown,
            "without_class": dict(without_class),
            "failed": failed,
            "evaluations": found,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        for evaluation in evaluations:
            if evaluation.top1.count:
                print_evaluation(evaluation, most)
    sys.exit(1 if failed else 0)


def print_evaluation(found: Evaluation, most: int) -> None:
    """Prints how right a model was, with so many classes, confusions and mistakes."""
    print_result(f"{found.model} on {found.top1.count:,} photos of {len(found.classes):,} classes")
    print_result(f"  the first answer is right    {_words(found.top1)}")
    print_result(f"  one of the first five is     {_words(found.top5)}")
    print_result(
        f"  probabilities are off by     {found.calibration_error:.1%} on average; "
        f"best temperature here: {found.temperature:.2f}"
    )
    for interval in found.bins:
        if interval.count:
            print_result(
                f"    says {interval.low:>4.0%} to {interval.high:>4.0%}: right "
                f"{interval.accuracy:>4.0%} of {interval.count:,}"
            )
    weakest = sorted(found.classes, key=lambda score: score.top1.value)[:most]
    if weakest:
        print_result("  weakest classes")
    for score in weakest:
        print_result(f"    {score.top1.right} of {score.top1.count}  {score.label.label}")
    if found.confusions[:most]:
        print_result("  most often confused")
    for confusion in found.confusions[:most]:
        print_result(
            f"    {confusion.count}×  {confusion.truth.label} taken for {confusion.answer.label}"
        )
    if found.mistakes[:most]:
        print_result("  worst mistakes")
    for mistake in found.mistakes[:most]:
        print_result(
            f"    {mistake.file}: {mistake.answer.label} {mistake.answer.probability:.0%} "
            f"instead of {mistake.truth.label} {mistake.truth_probability:.0%}"
        )


def _words(proportion: Proportion) -> str:
    low, high = proportion.interval
    reach = f"95 % sure: {low:.1%} to {high:.1%}"
    return f"{proportion.value:>6.1%}  ({proportion.right:,} of {proportion.count:,}; {reach})"
