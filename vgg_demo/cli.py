"""The command line: parse, call, print.

Results go to stdout, everything else to stderr. Exit status: 0 all good, 1 something
failed, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from vgg_demo.annotate import annotate, to_png
from vgg_demo.classify import classify_photo
from vgg_demo.errors import (
    FileUnwritableError,
    ReceiptError,
    UnknownModelError,
    VggDemoError,
    WeightsError,
)
from vgg_demo.images import read_file
from vgg_demo.photo import open_photo
from vgg_demo.preprocess import Resize
from vgg_demo.receipt import verify_receipt
from vgg_demo.registry import DEFAULT_MODEL, EMBEDDED_MODEL, MODELS, ModelSpec, get_spec
from vgg_demo.results import Classification, Failure, to_document
from vgg_demo.settings import Settings
from vgg_demo.store import ModelStore
from vgg_demo.version import __version__
from vgg_demo.weights import (
    Progress,
    check_weights_dir,
    ensure_weights,
    find_weights,
    inspect_weights,
)

weights_dir_option = click.option(
    "--weights-dir",
    metavar="DIR",
    help="Folder searched first for weight files (else VGG_DEMO_WEIGHTS_DIR).",
)


class _Group(click.Group):
    """Turns the package's own errors into messages."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VggDemoError as error:
            _fail(error)


@click.group(cls=_Group)
@click.version_option(__version__, prog_name="vgg_demo")
def main() -> None:
    """Shows what VGG16 and its relatives make of your photos."""
    # TensorFlow tells stderr about its build otherwise; it must be set before the import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@main.command("classify")
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="Name of the model.")
@click.option(
    "--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many answers."
)
@click.option(
    "--resize",
    type=click.Choice([policy.value for policy in Resize]),
    default=Resize.CROP.value,
    show_default=True,
    help="How the photo is made square.",
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
    spec = get_spec(model)
    classify_one = _classifier(spec, Resize(resize), _settings(weights_dir), annotate_into)
    results: list[Classification] = []
    failures: list[Failure] = []
    for path in paths or _ask_for_paths():
        try:
            result = classify_one(path)
        except VggDemoError as error:
            failures.append(Failure(path, type(error).__name__, str(error)))
            click.echo(f"{path}: {error}", err=True)
            if isinstance(error, WeightsError) and not spec.is_embedded:
                click.echo(f"Without a download: --model {EMBEDDED_MODEL}", err=True)
            continue
        results.append(result)
        if not as_json:
            _print_result(result, top)
    if as_json:
        # ASCII, because a file name may hold bytes that are no text.
        click.echo(json.dumps(to_document(results, failures, top), indent=2))
    sys.exit(1 if failures else 0)


@main.command("models")
@weights_dir_option
def models_command(weights_dir: str | None) -> None:
    """Lists the models and which are on this machine."""
    settings = _settings(weights_dir)
    click.echo(f"{'name':<22}{'input':>6}{'parameters':>14}{'size':>10}  {'here':<6}top-1")
    for spec in MODELS.values():
        accuracy = (
            f"{spec.accuracy.top1:.1f}% of {spec.accuracy.test_set}"
            if spec.accuracy
            else "no published figure at hand"
        )
        here = "yes" if find_weights(spec, settings) else "no"
        click.echo(
            f"{spec.name:<22}{spec.input_size:>6}{spec.parameters:>14,}"
            f"{_megabytes(spec.weights.size_bytes):>10}  {here:<6}{accuracy}"
        )


@main.group("weights")
def weights_group() -> None:
    """Lists, downloads and verifies weight files."""


@weights_group.command("list")
@weights_dir_option
def weights_list(weights_dir: str | None) -> None:
    """Lists the weight files on this machine."""
    settings = _settings(weights_dir)
    for spec in MODELS.values():
        if path := find_weights(spec, settings):
            click.echo(f"{spec.name:<22}{_megabytes(path.stat().st_size):>10}  {path}")


@weights_group.command("download")
@click.argument("models", nargs=-1, required=True, metavar="MODELS...")
@weights_dir_option
def weights_download(models: tuple[str, ...], weights_dir: str | None) -> None:
    """Downloads the weights of models into Keras's cache."""
    settings = _settings(weights_dir)
    for spec in [get_spec(name) for name in models]:
        click.echo(f"{spec.name}: {_ensure(spec, settings)}")


@weights_group.command("verify")
@click.argument("models", nargs=-1, metavar="[MODELS]...")
@weights_dir_option
def weights_verify(models: tuple[str, ...], weights_dir: str | None) -> None:
    """Compares weight files with their published hashes; all that are here by default."""
    settings = _settings(weights_dir)
    unverified = 0
    for spec in [get_spec(name) for name in models] or MODELS.values():
        path = find_weights(spec, settings)
        if path is None:
            if models:
                click.echo(f"{spec.name:<22}not on this machine")
                unverified += 1
            continue
        weights = inspect_weights(path, spec)
        unverified += not weights.verified
        click.echo(
            f"{spec.name:<22}{'verified' if weights.verified else 'unverified':<12}"
            f"sha256:{weights.sha256}  {path}"
        )
    sys.exit(1 if unverified else 0)


@main.command("verify")
@click.argument("receipt")
@click.argument("photo")
@weights_dir_option
def verify_command(receipt: str, photo: str, weights_dir: str | None) -> None:
    """Classifies PHOTO again and says whether RECEIPT still holds."""
    settings = _settings(weights_dir)
    claimed = _read_json(receipt)
    data = read_file(photo, settings.limits)
    verification = verify_receipt(claimed, data, ModelStore(settings), settings.limits)
    for finding in verification.findings:
        click.echo(finding)
    click.echo("The receipt holds." if verification.holds else "The receipt does not hold.")
    sys.exit(0 if verification.holds else 1)


def _classifier(
    spec: ModelSpec, policy: Resize, settings: Settings, annotate_into: Path | None
) -> Callable[[str], Classification]:
    """Returns a function from a path to a result; the model is loaded at the first photo."""
    store = ModelStore(settings)
    written: Counter[str] = Counter()

    def classify_one(path: str) -> Classification:
        # Opened first: a bad photo is told of before any download starts.
        photo = open_photo(read_file(path, settings.limits), file=path, limits=settings.limits)
        _ensure(spec, settings)
        result = classify_photo(photo, spec, store, policy=policy)
        if annotate_into is not None:
            # Two photos of one name from two folders do not overwrite each other.
            written[stem := Path(path).stem] += 1
            number = f"-{written[stem]}" if written[stem] > 1 else ""
            target = annotate_into / f"{stem}{number}.{spec.name}.png"
            _write(target, to_png(annotate(photo.image, result)))
            click.echo(f"Saved {target}", err=True)
        return result

    return classify_one


def _ask_for_paths() -> Iterator[str]:
    while True:
        click.echo("Path of a photo (EXIT to end): ", nl=False, err=True)
        line = sys.stdin.readline()
        path = line.strip().strip("'\"")
        if not line or path.upper() == "EXIT":
            return
        if path:
            yield path


def _print_result(result: Classification, top: int) -> None:
    unverified = "" if result.weights.verified else ", unverified weights"
    milliseconds = 1000 * result.seconds.inference
    click.echo(f"{result.file}  ({result.model}{unverified}, {milliseconds:.0f} ms)")
    for prediction in result.predictions(top):
        click.echo(f"  {prediction.probability:>7.2%}  {prediction.label}  [{prediction.wnid}]")


def _ensure(spec: ModelSpec, settings: Settings) -> Path:
    if settings.offline or find_weights(spec, settings):
        return ensure_weights(spec, settings)
    with click.progressbar(
        length=spec.weights.size_bytes, label=f"Downloading {spec.keras_name}", file=sys.stderr
    ) as bar:

        def show(progress: Progress) -> None:
            bar.length = progress.total_bytes or bar.length
            bar.update(progress.received_bytes - bar.pos)

        return ensure_weights(spec, settings, show)


def _read_json(path: str) -> Any:

    try:
        return json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise ReceiptError(f"{path!r} is not JSON ({error}).") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise FileUnwritableError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. Choose another folder."
        ) from error


def _settings(weights_dir: str | None) -> Settings:
    settings = Settings.from_environment(os.environ, weights_dir)
    check_weights_dir(settings)
    return settings


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def _fail(error: VggDemoError) -> NoReturn:
    click.echo(f"Error: {error}", err=True)
    sys.exit(2 if isinstance(error, UnknownModelError) else 1)
