"""`verify`: replay a receipt."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vgg_demo.cli.console import load_photo, prepare_model, print_result
from vgg_demo.cli.options import read_settings, weights_dir_option
from vgg_demo.images.decode import read_file
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.limits import ImageLimits
from vgg_demo.models.bundle import open_bundle
from vgg_demo.models.lookup import published_models
from vgg_demo.models.registry import MODELS
from vgg_demo.reports.receipt import MAX_RECEIPT_BYTES, parse_receipt, verify_receipt


@click.command("verify", epilog="Example: vgg-demo verify cat.vgg16.json cat.jpg")
@click.argument("receipt")
@click.argument("photo")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Bundle of the custom model, if the model is not published.",
)
@weights_dir_option
def verify_command(receipt: str, photo: str, bundle: Path | None, weights_dir: str | None) -> None:
    """Classify PHOTO again and compare the result with RECEIPT.

    RECEIPT is the JSON file that the web page offers for download with a prediction. The exit
    status is 0 if the receipt is confirmed, otherwise 1.
    """
    settings = read_settings(weights_dir)
    parsed_receipt = parse_receipt(read_file(receipt, ImageLimits(size_bytes=MAX_RECEIPT_BYTES)))
    store, custom_models = ModelStore(settings), published_models(settings.bundles_dir)
    if bundle is not None:
        spec = open_bundle(bundle).spec
        custom_models[spec.name] = spec
    verification = verify_receipt(
        parsed_receipt,
        load_photo(photo, settings.limits),
        store,
        prepare_model=lambda spec: prepare_model(spec, store, settings),
        models=custom_models | dict(MODELS),
    )
    for finding in verification.findings:
        print_result(finding)
    print_result("Receipt confirmed." if verification.is_confirmed else "Receipt not confirmed.")
    sys.exit(0 if verification.is_confirmed else 1)
