"""`teach`: a classifier of one's own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from vgg_demo.analysis.evaluation import Tally
from vgg_demo.cli.console import make_ready, show, tell
from vgg_demo.cli.evaluate import show_evaluation
from vgg_demo.cli.options import read_settings, weights_dir_option
from vgg_demo.cli.progress import ask_about_all
from vgg_demo.cli.train.bundle import export_command, pack_command, unpack_command
from vgg_demo.cli.train.data import check_photos, open_teacher, prepare_material, read_dataset
from vgg_demo.cli.train.options import data_options, recipe_options
from vgg_demo.cli.train.report import MOST_NAMED, show_learned, summary, tell_epoch
from vgg_demo.inference.results import SCHEMA
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import check_free, open_bundle
from vgg_demo.training.generators import run_through
from vgg_demo.training.validation import Lesson

TUNING_EPOCHS = 6


@click.group("teach", epilog="Example: python -m vgg_demo teach train photos/ --out my.bundle")
def teach_group() -> None:
    """Teaches a network your own kinds of things, from photos of them."""


@teach_group.command(
    "train", epilog="Example: python -m vgg_demo teach train photos/ --out my.bundle"
)
@data_options
@recipe_options
@click.option(
    "--fine-tune",
    "tuning_epochs",
    type=click.IntRange(0, 100),
    is_flag=False,
    flag_value=TUNING_EPOCHS,
    default=0,
    metavar="[EPOCHS]",
    help="Then have the end of the network's body learn too, for so many epochs; "
    f"{TUNING_EPOCHS} if none are said.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Folder for the model; for the commands that look at photos, --model BUNDLE.",
)
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON on stdout.")
def train_command(out: Path, as_json: bool, **options: Any) -> None:
    """Teaches from DATA: folders of photos, each named after what is on its photos; archives of
    such folders; or photos and a table. Ctrl-C while it learns keeps the best so far.
    """
    check_free(out)
    teacher, dataset = open_teacher(options)
    checked = check_photos(teacher, dataset)
    material = prepare_material(teacher, checked)
    tell(
        f"Learning from {len(material.split.training):,} photos, judging by "
        f"{len(material.split.validation):,} …"
    )
    with noticing_interrupts() as interrupts:
        head = run_through(teacher.train(material), tell_epoch)
        lessons: list[Lesson] = []
        with suppress(KeyboardInterrupt):
            if not interrupts:
                lessons = list(teacher.try_fewer(material, head))
        network = teacher.with_head(material, head)
        if teacher.recipe.tuning_epochs and not interrupts:
            tell(f"Now the last blocks of {teacher.backbone.keras_name} learn too …")
            network = run_through(teacher.fine_tune(material, head), tell_epoch)
    learned = teacher.finish(material, network, out, lessons)
    if as_json:
        click.echo(json.dumps(summary(learned, out), indent=2, ensure_ascii=False))
    else:
        show_learned(learned, out)


@contextmanager
def noticing_interrupts() -> Iterator[list[int]]:
    """Remembers whether Ctrl-C was pressed: who stops one thing wants no other to begin."""
    noticed: list[int] = []

    def notice(number: int, _: object) -> None:
        noticed.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, notice)
    except ValueError:  # not the main thread, which alone is interrupted
        yield noticed
        return
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, before)


@teach_group.command("lr-find", epilog="Example: python -m vgg_demo teach lr-find photos/")
@data_options
@recipe_options
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole curve as JSON.")
def lr_find_command(as_json: bool, **options: Any) -> None:
    """Tries learning rates on DATA, and says which one to train with (Smith 2017)."""
    teacher, dataset = open_teacher(options)
    material = prepare_material(teacher, check_photos(teacher, dataset))
    found = teacher.find_rate(material)
    if as_json:
        document = {
            "schema": SCHEMA,
            "steepest": found.steepest,
            "tenth": found.tenth,
            "suggestion": found.suggestion,
            "curve": [
                {"rate": rate, "loss": loss}
                for rate, loss in zip(found.rates.tolist(), found.losses.tolist(), strict=True)
            ],
        }
        click.echo(json.dumps(document, indent=2))
        return
    most = found.losses.max()
    for rate, loss in list(zip(found.rates, found.losses, strict=True))[::5]:
        show(f"{rate:>10.2e}  {loss:>7.3f}  {'▪' * round(40 * loss / most)}")
    show(f"the loss falls fastest at       {found.steepest:.1e}")
    show(f"a tenth of where it is lowest:  {found.tenth:.1e}  (what `train` takes)")


@teach_group.command("evaluate", epilog="Example: teach evaluate my.bundle other_photos/")
@click.argument("bundle", type=click.Path(path_type=Path))
@data_options
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def evaluate_command(bundle: Path, as_json: bool, **options: Any) -> None:
    """Says how often the model in BUNDLE is right on DATA, other photos than it learned from."""
    settings = read_settings(options["weights_dir"])
    opened = open_bundle(bundle)
    dataset = read_dataset(options, settings)
    labels = {photo.source.name: photo.label for photo in dataset.photos}
    wnids = {label.label: label.wnid for label in opened.spec.classes}
    store, tally, failed, unknown = ModelStore(settings), Tally(opened.spec), 0, 0
    make_ready(opened.spec, store, settings)
    sources = [photo.source for photo in dataset.photos]
    for row in ask_about_all(
        sources, [opened.spec], store, settings, opened.record["resize"], total=len(sources)
    ):
        failed += row.failure is not None
        for result in row.results:
            wnid = wnids.get(labels[row.source.name])
            unknown += wnid is None or not tally.add(result, wnid)
    if unknown:
        tell(f"{unknown:,} photos have labels that it was not taught; they do not count.")
    evaluation = tally.evaluate()
    if as_json:
        document = {"schema": SCHEMA, "failed": failed, "unknown": unknown}
        click.echo(json.dumps(document | evaluation.to_dict(), indent=2, ensure_ascii=False))
    else:
        show_evaluation(evaluation, MOST_NAMED)
    sys.exit(1 if failed or not tally.count else 0)


for command in (export_command, pack_command, unpack_command):
    teach_group.add_command(command)
