"""`verify`: whether a receipt still holds."""

from __future__ import annotations

import sys

import click

from vgg_demo.cli.options import read_settings, weights_dir_option
from vgg_demo.cli.terminal import load_photo, make_ready, show
from vgg_demo.images import ImageLimits, read_file
from vgg_demo.receipt import MAX_RECEIPT_BYTES, parse_receipt, verify_receipt
from vgg_demo.store import ModelStore


@click.command("verify", epilog="Example: python -m vgg_demo verify cat.vgg16.json cat.jpg")
@click.argument("receipt")
@click.argument("photo")
@weights_dir_option
def verify_command(receipt: str, photo: str, weights_dir: str | None) -> None:
    """Classifies PHOTO again and says whether RECEIPT still holds.

    RECEIPT is the JSON file that the page saves with an answer. The exit status is 0 if it
    holds.
    """
    settings = read_settings(weights_dir)
    claimed = parse_receipt(read_file(receipt, ImageLimits(size_bytes=MAX_RECEIPT_BYTES)))
    store = ModelStore(settings)
    verification = verify_receipt(
        claimed,
        load_photo(photo, settings.limits),
        store,
        make_ready=lambda spec: make_ready(spec, store, settings),
    )
    for finding in verification.findings:
        show(finding)
    show("The receipt holds." if verification.holds else "The receipt does not hold.")
    sys.exit(0 if verification.holds else 1)
