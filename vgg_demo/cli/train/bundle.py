"""Commands of `teach` for a bundle that is there already."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vgg_demo.cli.console import make_ready, quiet_libraries, show
from vgg_demo.cli.options import megabytes, read_settings, weights_dir_option
from vgg_demo.errors import BundleError
from vgg_demo.files.sources import find_photos
from vgg_demo.files.writing import writing
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import open_bundle
from vgg_demo.models.bundle_archive import pack, unpack
from vgg_demo.models.preprocess import Resize, prepare

MOST_COMPARED = 500


@click.command(
    "export", epilog="Example: teach export my.bundle photos/ --format tflite --out my.tflite"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("photos", nargs=-1, required=True)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["tflite", "tflite-int8", "saved-model"]),
    default="tflite",
    show_default=True,
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="PATH")
@weights_dir_option
def export_command(
    bundle: Path, photos: tuple[str, ...], kind: Any, out: Path, weights_dir: str | None
) -> None:
    """Writes the model in BUNDLE for other programs, and compares it on PHOTOS.

    For a phone's TensorFlow Lite, with numbers as they are or in eight bits each (by the first
    hundred photos they are fitted), or as TensorFlow's SavedModel.
    """
    settings, opened = read_settings(weights_dir), open_bundle(bundle)
    if out.exists():
        raise BundleError(f"{str(out)!r} is there already. Choose another name.")
    store = ModelStore(settings)
    make_ready(opened.spec, store, settings)
    policy = Resize(opened.record["resize"])
    sources = list(islice(find_photos(photos, settings.limits), MOST_COMPARED))

    def look() -> Iterator[NDArray[np.float32]]:
        for source in sources:
            photo = open_photo(source.read(), file=source.name, limits=settings.limits)
            yield prepare(photo.image, opened.spec, policy)

    from vgg_demo.training.export import export

    with quiet_libraries(), writing(out, "Choose another place."), store.use(opened.spec) as model:
        found = export(model, kind, out, look)
    original = opened.spec.weights.size_bytes
    show(f"{out}: {megabytes(found.size_bytes)} (the bundle's network has {megabytes(original)})")
    show(
        f"on {found.photos:,} photos it gives the same first answer for {found.agreement:.1%}; no "
        f"probability differs by more than {found.largest_difference:.2g}"
    )


@click.command("pack", epilog="Example: python -m vgg_demo teach pack my.bundle my.zip")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("archive", type=click.Path(path_type=Path))
def pack_command(bundle: Path, archive: Path) -> None:
    """Writes BUNDLE into a ZIP ARCHIVE, to give it away."""
    open_bundle(bundle)
    pack(bundle, archive)


@click.command("unpack", epilog="Example: python -m vgg_demo teach unpack my.zip my.bundle")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
def unpack_command(archive: Path, bundle: Path) -> None:
    """Makes a BUNDLE of a ZIP ARCHIVE, after checking what is in it."""
    unpack(archive, bundle)
    spec = open_bundle(bundle).spec
    show(f"{spec.name}: {', '.join(label.label for label in spec.classes)}")
    show(f"SHA-256 of its network: {spec.weights.hash}")
