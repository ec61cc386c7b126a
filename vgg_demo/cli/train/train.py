"""`train`: train a custom model from labeled photos."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from vgg_demo.cli.console import log
from vgg_demo.cli.options import weights_dir_option
from vgg_demo.cli.train.data import check_photos, open_trainer, prepare_training_data
from vgg_demo.cli.train.options import data_options, recipe_options
from vgg_demo.cli.train.report import log_epoch, print_trained_model, summary
from vgg_demo.models.bundle import ensure_free
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.validation import LearningCurvePoint

TUNING_EPOCHS = 6


@click.command("train", epilog="Example: vgg-demo train photos/ --out my.bundle")
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
    ensure_free(out)
    trainer, dataset = open_trainer(options)
    inspected = check_photos(trainer, dataset)
    training_data = prepare_training_data(trainer, inspected)
    log(
        f"Learning from {len(training_data.split.training):,} photos, judging by "
        f"{len(training_data.split.validation):,} …"
    )
    with noticing_interrupts() as interrupts:
        head = run_to_end(trainer.train(training_data), log_epoch)
        learning_curve: list[LearningCurvePoint] = []
        with suppress(KeyboardInterrupt):
            if not interrupts:
                learning_curve = list(trainer.learning_curve_points(training_data, head))
        network = trainer.with_head(training_data, head)
        if trainer.recipe.tuning_epochs and not interrupts:
            log(f"Now the last blocks of {trainer.backbone.keras_name} learn too …")
            network = run_to_end(trainer.fine_tune(training_data, head), log_epoch)
    trained = trainer.finish(training_data, network, out, learning_curve)
    if as_json:
        click.echo(json.dumps(summary(trained, out), indent=2, ensure_ascii=False))
    else:
        print_trained_model(trained, out)


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
