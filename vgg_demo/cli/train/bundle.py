"""`bundle`: evaluate, export, pack and unpack custom models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.evaluation import Evaluator
from vgg_demo.cli.console import log, pluralize, prepare_model, print_result, quiet_libraries
from vgg_demo.cli.evaluate import print_evaluation
from vgg_demo.cli.options import format_megabytes, read_settings, weights_dir_option
from vgg_demo.cli.progress import classify_with_progress
from vgg_demo.cli.train.dataset import read_dataset
from vgg_demo.cli.train.options import data_options
from vgg_demo.cli.train.report import MAX_NAMED
from vgg_demo.errors import BundleError, ImageError
from vgg_demo.files.sources import find_photos
from vgg_demo.files.writing import report_write_errors
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import SCHEMA
from vgg_demo.models.bundle import open_bundle
from vgg_demo.models.bundle_archive import pack, unpack
from vgg_demo.models.preprocess import Resize, prepare

MAX_COMPARED = 500  # photos on which an exported model is compared with the original


@click.group("bundle")
def bundle_group() -> None:
    """Work with bundles (trained custom models)."""


@bundle_group.command("evaluate", epilog="Example: vgg-demo bundle evaluate my.bundle photos/")
@click.argument("bundle", type=click.Path(path_type=Path))
@data_options
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def evaluate_command(bundle: Path, as_json: bool, **options: Any) -> None:
    """Evaluate the model in BUNDLE on DATA, labeled photos that it was not trained on."""
    settings = read_settings(options["weights_dir"])
    opened = open_bundle(bundle)
    dataset = read_dataset(options, settings)
    labels = {photo.source.name: photo.label for photo in dataset.photos}
    wnids = {label.label: label.wnid for label in opened.spec.classes}
    store, evaluator, failed, unknown = ModelStore(settings), Evaluator(opened.spec), 0, 0
    prepare_model(opened.spec, store, settings)
    sources = [photo.source for photo in dataset.photos]
    for row in classify_with_progress(
        sources, [opened.spec], store, settings, opened.record["resize"], total=len(sources)
    ):
        failed += row.failure is not None
        for result in row.results:
            wnid = wnids.get(labels[row.source.name])
            unknown += wnid is None or not evaluator.add(result, wnid)
    if unknown:
        photos = pluralize(unknown, "photo")
        log(f"Skipped {photos} with a label that is not a class of the model.")
    evaluation = evaluator.evaluate()
    if as_json:
        document = {"schema": SCHEMA, "failed": failed, "unknown": unknown}
        click.echo(json.dumps(document | evaluation.to_dict(), indent=2, ensure_ascii=False))
    else:
        print_evaluation(evaluation, MAX_NAMED)
    sys.exit(1 if failed or not evaluator.count else 0)


@bundle_group.command(
    "export", epilog="Example: vgg-demo bundle export my.bundle photos/ --out my.tflite"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("photos", nargs=-1, required=True)
@click.option(
    "--format",
    "export_format",
    type=click.Choice(["tflite", "tflite-int8", "saved-model"]),
    default="tflite",
    show_default=True,
    help="Format of the exported model.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File to write; for saved-model, folder to create.",
)
@weights_dir_option
def export_command(
    bundle: Path, photos: tuple[str, ...], export_format: Any, out: Path, weights_dir: str | None
) -> None:
    """Export the model in BUNDLE to TensorFlow Lite or SavedModel.

    The exported model is compared with the original on PHOTOS. The format tflite-int8 is quantized
    to 8 bits, calibrated on the first hundred photos.
    """
    settings, opened = read_settings(weights_dir), open_bundle(bundle)
    if out.exists():
        raise BundleError(f"{str(out)!r} already exists. Choose another name.")
    store = ModelStore(settings)
    prepare_model(opened.spec, store, settings)
    resize = Resize(opened.record["resize"])
    sources = list(islice(find_photos(photos, settings.limits), MAX_COMPARED))

    def load_batches() -> Iterator[NDArray[np.float32]]:
        for source in sources:
            try:
                photo = open_photo(source.read(), file=source.name, limits=settings.limits)
            except ImageError as error:
                raise type(error)(f"{source.name}: {error}") from error
            yield prepare(photo.image, opened.spec, resize)

    from vgg_demo.training.export import export

    with (
        quiet_libraries(),
        report_write_errors(out, "Choose another location."),
        store.use(opened.spec) as model,
    ):
        report = export(model, export_format, out, load_batches)
    original = opened.spec.weights.size_bytes
    print_result(
        f"{out}: {format_megabytes(report.size_bytes)} (original: {format_megabytes(original)})"
    )
    print_result(
        f"Same top prediction for {report.agreement:.1%} of {pluralize(report.photos, 'photo')}; "
        f"largest difference in probability {report.largest_difference:.2g}"
    )


@bundle_group.command("pack", epilog="Example: vgg-demo bundle pack my.bundle my.zip")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("archive", type=click.Path(path_type=Path))
def pack_command(bundle: Path, archive: Path) -> None:
    """Pack BUNDLE into a ZIP ARCHIVE for sharing."""
    open_bundle(bundle)
    pack(bundle, archive)


@bundle_group.command("unpack", epilog="Example: vgg-demo bundle unpack my.zip my.bundle")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
def unpack_command(archive: Path, bundle: Path) -> None:
    """Unpack a ZIP ARCHIVE into BUNDLE, after checking its contents."""
    unpack(archive, bundle)
    spec = open_bundle(bundle).spec
    print_result(f"{spec.name}: {', '.join(label.label for label in spec.classes)}")
    print_result(f"SHA-256 of the model: {spec.weights.hash}")
