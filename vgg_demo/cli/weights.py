"""`weights`: list, download and verify weight files."""

from __future__ import annotations

import sys

import click

from vgg_demo.cli.console import fetch_weights, log, print_result
from vgg_demo.cli.options import format_megabytes, read_settings, weights_dir_option
from vgg_demo.errors import VggDemoError
from vgg_demo.models.registry import MODELS, ModelSpec, get_spec
from vgg_demo.weights.local import LocalWeights, find_weights, inspect_weights


@click.group("weights", epilog="Example: vgg-demo weights download vgg16")
def weights_group() -> None:
    """List, download and verify weight files."""


@weights_group.command("list", epilog="Example: vgg-demo weights list")
@weights_dir_option
def weights_list(weights_dir: str | None) -> None:
    """List the installed weight files with their size and path."""
    settings = read_settings(weights_dir)
    for spec in MODELS.values():
        if path := find_weights(spec, settings):
            print_result(f"{spec.name:<19}{format_megabytes(path.stat().st_size):>10}  {path}")


@weights_group.command("download", epilog="Example: vgg-demo weights download vgg16 mobilenet_v2")
@click.argument("models", nargs=-1, required=True, metavar="MODELS...")
@weights_dir_option
def weights_download(models: tuple[str, ...], weights_dir: str | None) -> None:
    """Download the weights of MODELS into the Keras cache.

    Installed files are not downloaded again.
    """
    settings = read_settings(weights_dir)
    failed = 0
    for spec in [get_spec(name) for name in models]:
        try:
            print_result(f"{spec.name}: {fetch_weights(spec, settings)}")
        except VggDemoError as error:
            log(f"{spec.name}: {error}")
            failed += 1
    sys.exit(1 if failed else 0)


@weights_group.command("verify", epilog="Example: vgg-demo weights verify vgg16")
@click.argument("models", nargs=-1, metavar="[MODELS]...")
@weights_dir_option
def weights_verify(models: tuple[str, ...], weights_dir: str | None) -> None:
    """Compare weight files with their published hashes.

    Without MODELS, check all installed files. The exit status is 0 if every file is the
    published one, otherwise 1.
    """
    settings = read_settings(weights_dir)
    unverified = 0
    for spec in [get_spec(name) for name in models] or MODELS.values():
        path = find_weights(spec, settings)
        if path is None:
            if models:
                print_result(f"{spec.name:<20}not installed")
                unverified += 1
            continue
        try:
            weights = inspect_weights(path, spec)
        except VggDemoError as error:
            log(f"{spec.name}: {error}")
            unverified += 1
            continue
        unverified += not weights.verified
        print_result(
            f"{spec.name:<20}{_describe_status(spec, weights):<12}sha256:{weights.sha256}  {path}"
        )
        if not spec.weights.hash:
            log(f"{spec.name}: Keras publishes no hash for this file; it cannot be verified.")
    sys.exit(1 if unverified else 0)


def _describe_status(spec: ModelSpec, weights: LocalWeights) -> str:
    if weights.verified:
        return "verified"
    return "different" if spec.weights.hash else "unverified"
