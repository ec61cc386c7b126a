"""The command line: parse, call, print.

Results go to stdout, everything else to stderr. Exit status: 0 all good, 1 something
failed, 2 wrong usage.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from vgg_demo.annotate import annotate, to_png
from vgg_demo.classify import classify_photo
from vgg_demo.errors import FileUnwritableError, ModelError, VggDemoError
from vgg_demo.images import ImageLimits, read_file
from vgg_demo.photo import Photo
from vgg_demo.preprocess import Resize
from vgg_demo.receipt import MAX_RECEIPT_BYTES, parse_receipt, verify_receipt
from vgg_demo.registry import DEFAULT_MODEL, EMBEDDED_MODEL, MODELS, get_spec
from vgg_demo.results import Classification, Failure, to_document
from vgg_demo.settings import Settings
from vgg_demo.store import ModelStore
from vgg_demo.terminal import (
    Group,
    ask_for_paths,
    fetch_weights,
    load_photo,
    make_ready,
    set_up,
    show,
    tell,
)
from vgg_demo.verdict import give_verdict, one_line, scope
from vgg_demo.version import __version__
from vgg_demo.weights import check_weights_dir, find_weights, inspect_weights

weights_dir_option = click.option(
    "--weights-dir",
    metavar="DIR",
    help="Folder searched first for weight files (else VGG_DEMO_WEIGHTS_DIR).",
)


@click.group(cls=Group, epilog="Example: python -m vgg_demo classify photo.jpg --model mini_vgg")
@click.version_option(__version__, prog_name="vgg_demo")
def main() -> None:
    """Shows what VGG16 and its relatives make of your photos."""
    set_up()


@main.command("classify", epilog="Example: python -m vgg_demo classify cat.jpg dog.jpg --top 3")
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME",
    help="Which model answers; `models` lists all.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="How many answers to show.",
)
@click.option(
    "--resize",
    type=click.Choice([policy.value for policy in Resize]),
    default=Resize.CROP.value,
    show_default=True,
    help="How the photo is made square: the centre cut out, all of it pressed in, or grey "
    "bars added.",
)
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--annotate",
    "annotate_into",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save each photo there as PNG with the first answer written on it.",
)
def classify_command(
    paths: tuple[str, ...],
    model: str,
    top: int,
    resize: str,
    weights_dir: str | None,
    as_json: bool,
    annotate_into: Path | None,
) -> None:
    """Says what is on photos.

    With no PATHS, asks for one path after the other until EXIT or the end of input.
    """
    spec, settings = get_spec(model), _settings(weights_dir)
    save = _saver(annotate_into) if annotate_into is not None else None
    store = ModelStore(settings)
    results: list[Classification] = []
    failures: list[Failure] = []
    lost: ModelError | None = None
    for path in paths or ask_for_paths():
        try:
            # Opened first: a bad photo is told of before any download starts.
            photo = load_photo(path, settings.limits)
            if lost is not None and paths:
                raise lost  # nobody waits for the same dead server once more for each photo
            make_ready(spec, store, settings)
            result = classify_photo(photo, spec, store, policy=Resize(resize))
            if not results and spec.is_embedded:
                tell(scope(spec))
            results.append(result)
            if not as_json:
                _show_result(result, top)
            if save is not None:
                save(photo, result)
        except VggDemoError as error:
            failures.append(Failure(path, type(error).__name__, str(error)))
            tell(f"{path}: {error}")
            if isinstance(error, ModelError):
                if lost is None and not spec.is_embedded:
                    tell(f"What always answers: --model {EMBEDDED_MODEL}")
                lost = error
    if as_json:
        # ASCII, because a file name may hold bytes that are no text.
        click.echo(json.dumps(to_document(results, failures, top), indent=2))
    sys.exit(1 if failures else 0)


@main.command("models", epilog="Example: python -m vgg_demo models")
@weights_dir_option
def models_command(weights_dir: str | None) -> None:
    """Lists the models and which are on this machine.

    "top-1" is the published share of test images whose first answer is right.
    """
    settings = _settings(weights_dir)
    show(f"{'name':<19}{'input':>6}{'parameters':>12}{'size':>10}  {'here':<5}top-1")
    for spec in MODELS.values():
        accuracy = (
            f"{spec.accuracy.top1:.1f}% {spec.accuracy.test_set.removesuffix(' images')}"
            if spec.accuracy
            else "no published figure"
        )
        here = "yes" if find_weights(spec, settings) else "no"
        show(
            f"{spec.name:<19}{spec.input_size:>6}{spec.parameters:>12,}"
            f"{_megabytes(spec.weights.size_bytes):>10}  {here:<5}{accuracy}"
        )


@main.group("weights", epilog="Example: python -m vgg_demo weights download vgg16")
def weights_group() -> None:
    """Lists, downloads and verifies weight files."""


@weights_group.command("list", epilog="Example: python -m vgg_demo weights list")
@weights_dir_option
def weights_list(weights_dir: str | None) -> None:
    """Lists the weight files on this machine."""
    settings = _settings(weights_dir)
    for spec in MODELS.values():
        if path := find_weights(spec, settings):
            show(f"{spec.name:<19}{_megabytes(path.stat().st_size):>10}  {path}")


@weights_group.command(
    "download", epilog="Example: python -m vgg_demo weights download vgg16 mobilenet_v2"
)
@click.argument("models", nargs=-1, required=True, metavar="MODELS...")
@weights_dir_option
def weights_download(models: tuple[str, ...], weights_dir: str | None) -> None:
    """Downloads the weights of MODELS into Keras's cache.

    What is on this machine already is not downloaded again.
    """
    settings = _settings(weights_dir)
    failed = 0
    for spec in [get_spec(name) for name in models]:
        try:
            show(f"{spec.name}: {fetch_weights(spec, settings)}")
        except VggDemoError as error:
            tell(f"{spec.name}: {error}")
            failed += 1
    sys.exit(1 if failed else 0)


@weights_group.command("verify", epilog="Example: python -m vgg_demo weights verify vgg16")
@click.argument("models", nargs=-1, metavar="[MODELS]...")
@weights_dir_option
def weights_verify(models: tuple[str, ...], weights_dir: str | None) -> None:
    """Compares weight files with their published hashes.

    With no MODELS, all that are on this machine. The exit status is 0 if every one is the
    published file.
    """
    settings = _settings(weights_dir)
    unverified = 0
    for spec in [get_spec(name) for name in models] or MODELS.values():
        path = find_weights(spec, settings)
        if path is None:
            if models:
                show(f"{spec.name:<20}not on this machine")
                unverified += 1
            continue
        try:
            weights = inspect_weights(path, spec)
        except VggDemoError as error:
            tell(f"{spec.name}: {error}")
            unverified += 1
            continue
        unverified += not weights.verified
        show(
            f"{spec.name:<20}{'verified' if weights.verified else 'unverified':<12}"
            f"sha256:{weights.sha256}  {path}"
        )
        if not spec.weights.hash:
            tell(f"{spec.name}: Keras publishes no hash of this file to compare it with.")
    sys.exit(1 if unverified else 0)


@main.command("verify", epilog="Example: python -m vgg_demo verify cat.vgg16.json cat.jpg")
@click.argument("receipt")
@click.argument("photo")
@weights_dir_option
def verify_command(receipt: str, photo: str, weights_dir: str | None) -> None:
    """Classifies PHOTO again and says whether RECEIPT still holds.

    RECEIPT is the JSON file that the page saves with an answer. The exit status is 0 if it
    holds.
    """
    settings = _settings(weights_dir)
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


def _saver(folder: Path) -> Callable[[Photo, Classification], None]:
    """Returns a function that saves a photo with its answer, each under a name of its own.

    Raises:
        FileUnwritableError: If nothing can be saved in the folder.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    taken: set[str] = set()

    def save(photo: Photo, result: Classification) -> None:
        stem = name = Path(photo.file).stem
        number = 1
        while name.casefold() in taken:  # some disks take "Cat" and "cat" for one name
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        target = folder / f"{name}.{result.model}.png"
        with _writing(target):
            target.write_bytes(to_png(annotate(photo.image, result)))
        tell(f"Saved {target}")

    return save


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileUnwritableError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. Choose another folder."
        ) from error


def _show_result(result: Classification, top: int) -> None:
    unverified = "" if result.weights.verified else ", unverified weights"
    milliseconds = 1000 * result.seconds.inference
    show(f"{result.file}  ({result.model}{unverified}, {milliseconds:.0f} ms)")
    show(f"  {one_line(give_verdict(result))}")
    for prediction in result.predictions(top):
        show(f"  {prediction.probability:>7.2%}  {prediction.label}  [{prediction.wnid}]")


def _settings(weights_dir: str | None) -> Settings:
    settings = Settings.from_environment(os.environ, weights_dir)
    check_weights_dir(settings)
    return settings


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
