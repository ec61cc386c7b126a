"""`find-lr`: the learning-rate range test."""

from __future__ import annotations

import json
from typing import Any

import click

from vgg_demo.cli.console import print_result
from vgg_demo.cli.options import weights_dir_option
from vgg_demo.cli.train.data import check_photos, open_trainer, prepare_training_data
from vgg_demo.cli.train.options import data_options, recipe_options
from vgg_demo.inference.results import SCHEMA


@click.command("find-lr", epilog="Example: vgg-demo find-lr photos/")
@data_options
@recipe_options
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole curve as JSON.")
def find_lr_command(as_json: bool, **options: Any) -> None:
    """Tries learning rates on DATA, and says which one to train with (Smith 2017)."""
    trainer, dataset = open_trainer(options)
    training_data = prepare_training_data(trainer, check_photos(trainer, dataset))
    found = trainer.find_rate(training_data)
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
        print_result(f"{rate:>10.2e}  {loss:>7.3f}  {'▪' * round(40 * loss / most)}")
    print_result(f"the loss falls fastest at       {found.steepest:.1e}")
    print_result(f"a tenth of where it is lowest:  {found.tenth:.1e}  (what `train` takes)")
