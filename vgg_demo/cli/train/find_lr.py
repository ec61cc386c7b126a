"""`find-lr`: the learning-rate range test."""

from __future__ import annotations

import json
from typing import Any

import click

from vgg_demo.cli.console import print_result
from vgg_demo.cli.options import weights_dir_option
from vgg_demo.cli.train.dataset import inspect_dataset, open_trainer, prepare_training_data
from vgg_demo.cli.train.options import data_options, recipe_options
from vgg_demo.inference.results import SCHEMA


@click.command("find-lr", epilog="Example: vgg-demo find-lr photos/")
@data_options
@recipe_options
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole curve as JSON.")
def find_lr_command(as_json: bool, **options: Any) -> None:
    """Find a learning rate for DATA with a range test (Smith 2017)."""
    trainer, dataset = open_trainer(options)
    training_data = prepare_training_data(trainer, inspect_dataset(trainer, dataset))
    range_test = trainer.find_learning_rate(training_data)
    if as_json:
        document = {
            "schema": SCHEMA,
            "steepest": range_test.steepest,
            "tenth": range_test.tenth,
            "suggestion": range_test.suggestion,
            "curve": [
                {"rate": rate, "loss": loss}
                for rate, loss in zip(
                    range_test.rates.tolist(), range_test.losses.tolist(), strict=True
                )
            ],
        }
        click.echo(json.dumps(document, indent=2))
        return
    max_loss = range_test.losses.max()
    print_result("learning rate    loss")
    for rate, loss in list(zip(range_test.rates, range_test.losses, strict=True))[::5]:
        print_result(f"{rate:>13.2e} {loss:>7.3f}  {'▪' * round(40 * loss / max_loss)}")
    print_result(f"loss falls fastest at    {range_test.steepest:.1e}")
    print_result(
        f"suggested learning rate  {range_test.tenth:.1e}  (one tenth of the learning rate with "
        "the lowest loss; used by `train`)"
    )
