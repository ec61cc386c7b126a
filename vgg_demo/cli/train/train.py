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
from vgg_demo.cli.train.dataset import inspect_dataset, open_trainer, prepare_training_data
from vgg_demo.cli.train.options import data_options, recipe_options
from vgg_demo.cli.train.report import log_epoch, print_trained_model, to_document
from vgg_demo.models.bundle import check_destination
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.validation import LearningCurvePoint

FINE_TUNING_EPOCHS = 6


@click.command("train", epilog="Example: vgg-demo train photos/ --out my.bundle")
@data_options
@recipe_options
@click.option(
    "--fine-tune",
    "fine_tuning_epochs",
    type=click.IntRange(0, 100),
    is_flag=False,
    flag_value=FINE_TUNING_EPOCHS,
    default=0,
    metavar="[EPOCHS]",
    help="After training the output layer, fine-tune the last blocks of the backbone for this "
    f"number of epochs ({FINE_TUNING_EPOCHS} if no number is given).",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Folder to create for the model. Other commands accept it as --model BUNDLE.",
)
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def train_command(out: Path, as_json: bool, **options: Any) -> None:
    """Train a custom model on DATA.

    DATA can be folders of photos, each named after its class; archives of such folders; or photos
    with a label table (--labels). Press Ctrl-C during training to stop early and keep the best
    model so far.
    """
    check_destination(out)
    trainer, dataset = open_trainer(options)
    inspected = inspect_dataset(trainer, dataset)
    training_data = prepare_training_data(trainer, inspected)
    log(
        f"Training on {len(training_data.split.training):,} photos, validating on "
        f"{len(training_data.split.validation):,} …"
    )
    with recording_interrupts() as interrupts:
        head = run_to_end(trainer.train(training_data), log_epoch)
        learning_curve: list[LearningCurvePoint] = []
        with suppress(KeyboardInterrupt):
            if not interrupts:
                learning_curve = list(trainer.learning_curve_points(training_data, head))
        network = trainer.with_head(training_data, head)
        if trainer.recipe.fine_tuning_epochs and not interrupts:
            log(f"Fine-tuning the last blocks of {trainer.backbone.keras_name} …")
            network = run_to_end(trainer.fine_tune(training_data, head), log_epoch)
    trained = trainer.finish(training_data, network, out, learning_curve)
    if as_json:
        click.echo(json.dumps(to_document(trained, out), indent=2, ensure_ascii=False))
    else:
        print_trained_model(trained, out)


@contextmanager
def recording_interrupts() -> Iterator[list[int]]:
    """Records presses of Ctrl-C, so that an interrupt also skips all later stages.

    Yields:
        The signal numbers received so far.
    """
    signals: list[int] = []

    def record(number: int, _: object) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGINT, record)
    except ValueError:  # not in the main thread, the only one that receives signals
        yield signals
        return
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, previous)
