"""`models`: list the models."""

from __future__ import annotations

import json
from typing import Any

import click

from vgg_demo.cli.console import log, print_result
from vgg_demo.cli.options import format_megabytes, read_settings, weights_dir_option
from vgg_demo.errors import WeightsError
from vgg_demo.inference.results import SCHEMA
from vgg_demo.models.lookup import published_models
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import describe_model, find_weights, inspect_weights


@click.command("models", epilog="Example: vgg-demo models")
@weights_dir_option
@click.option(
    "--verify",
    is_flag=True,
    help="Compare installed weight files with their published hashes; takes seconds per gigabyte.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the models as JSON.")
def models_command(weights_dir: str | None, verify: bool, as_json: bool) -> None:
    """List the models and show which are installed.

    "top-1" is the published top-1 accuracy on the named test set.
    """
    settings = read_settings(weights_dir)
    custom_models = published_models(settings.bundles_dir).values()
    records = [_make_record(spec, settings, verify) for spec in (*MODELS.values(), *custom_models)]
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "models": records}, indent=2))
        return
    print_result(f"{'name':<19}{'input':>6}{'parameters':>12}{'size':>10}  {'installed':<11}top-1")
    for record in records:
        print_result(_format_record(record))


def _make_record(spec: ModelSpec, settings: Settings, verify: bool) -> dict[str, Any]:
    """Returns a model as JSON values; "verified" is null if no file was verified."""
    path = find_weights(spec, settings)
    verified = None
    if path and verify:
        try:
            verified = inspect_weights(path, spec).verified
        except WeightsError as error:
            log(f"{spec.name}: {error}")
            verified = False
    return describe_model(spec, settings) | {"path": path and str(path), "verified": verified}


def _format_record(record: dict[str, Any]) -> str:
    accuracy = "not published"
    if published := record["accuracy"]:
        accuracy = f"{published['top1']:.1f}% {published['test_set'].split()[0]}"
    installed = {None: "yes", True: "verified", False: "unverified"}[record["verified"]]
    return (
        f"{record['name']:<19}{record['input_size']:>6}{record['parameters']:>12,}"
        f"{format_megabytes(record['size_bytes']):>10}  "
        f"{installed if record['path'] else 'no':<11}{accuracy}"
    )
