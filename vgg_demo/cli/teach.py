"""`teach`: a classifier of one's own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vgg_demo.cli.evaluate import show_evaluation
from vgg_demo.cli.many import ask_about_all, is_terminal
from vgg_demo.cli.options import megabytes, read_settings, read_text, weights_dir_option
from vgg_demo.cli.teach_options import data_options, recipe_options
from vgg_demo.cli.teach_words import (
    MOST_NAMED,
    named,
    show_learned,
    summary,
    tell_epoch,
    tell_report,
)
from vgg_demo.cli.terminal import make_ready, quiet_libraries, show, tell
from vgg_demo.errors import BundleError
from vgg_demo.evaluation import Tally
from vgg_demo.photo import open_photo
from vgg_demo.preprocess import Resize, prepare
from vgg_demo.registry import get_spec
from vgg_demo.results import SCHEMA
from vgg_demo.settings import Settings
from vgg_demo.sources import find_photos
from vgg_demo.store import ModelStore
from vgg_demo.taught import Part
from vgg_demo.teach.bundle import check_free, open_bundle
from vgg_demo.teach.dataset import Columns, Dataset, drop_rare, label_by_folders, label_by_table
from vgg_demo.teach.exchange import pack, unpack
from vgg_demo.teach.feature_cache import FeatureCache
from vgg_demo.teach.judgement import Lesson
from vgg_demo.teach.material import Checked, Checking, Material
from vgg_demo.teach.recipe import Recipe
from vgg_demo.teach.running import run_through
from vgg_demo.teach.teacher import Teacher
from vgg_demo.writing import writing

TUNING_EPOCHS = 6
MOST_COMPARED = 500


@click.group("teach", epilog="Example: python -m vgg_demo teach train photos/ --out my.bundle")
def teach_group() -> None:
    """Teaches a network your own kinds of things, from photos of them."""


@teach_group.command(
    "train", epilog="Example: python -m vgg_demo teach train photos/ --out my.bundle"
)
@data_options
@recipe_options
@click.option(
    "--fine-tune",
    "tuning_epochs",
    type=click.IntRange(0, 100),
    is_flag=False,
    flag_value=TUNING_EPOCHS,
    default=0,
    metavar="[EPOCHS]",
    help="Then have the end of the network's body learn too, for so many epochs; "
    f"{TUNING_EPOCHS} if none are said.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Folder for the model; for the commands that look at photos, --model BUNDLE.",
)
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON on stdout.")
def train_command(out: Path, as_json: bool, **options: Any) -> None:
    """Teaches from DATA: folders of photos, each named after what is on its photos; archives of
    such folders; or photos and a table. Ctrl-C while it learns keeps the best so far.
    """
    check_free(out)
    teacher, dataset = _open(options)
    checked = _check(teacher, dataset)
    material = _prepare(teacher, checked)
    tell(
        f"Learning from {len(material.split.training):,} photos, judging by "
        f"{len(material.split.validation):,} …"
    )
    with noticing_interrupts() as interrupts:
        head = run_through(teacher.train(material), tell_epoch)
        lessons: list[Lesson] = []
        with suppress(KeyboardInterrupt):
            if not interrupts:
                lessons = list(teacher.try_fewer(material, head))
        network = teacher.with_head(material, head)
        if teacher.recipe.tuning_epochs and not interrupts:
            tell(f"Now the last blocks of {teacher.backbone.keras_name} learn too …")
            network = run_through(teacher.fine_tune(material, head), tell_epoch)
    learned = teacher.finish(material, network, out, lessons)
    if as_json:
        click.echo(json.dumps(summary(learned, out), indent=2, ensure_ascii=False))
    else:
        show_learned(learned, out)


@contextmanager
def noticing_interrupts() -> Iterator[list[int]]:
    """Remembers whether Ctrl-C was pressed: who stops one thing wants no other to begin."""
    noticed: list[int] = []

    def notice(number: int, _: object) -> None:
        noticed.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, notice)
    except ValueError:  # not the main thread, which alone is interrupted
        yield noticed
        return
    try:
        yield noticed
    finally:
        signal.signal(signal.SIGINT, before)


@teach_group.command("lr-find", epilog="Example: python -m vgg_demo teach lr-find photos/")
@data_options
@recipe_options
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole curve as JSON.")
def lr_find_command(as_json: bool, **options: Any) -> None:
    """Tries learning rates on DATA, and says which one to train with (Smith 2017)."""
    teacher, dataset = _open(options)
    material = _prepare(teacher, _check(teacher, dataset))
    found = teacher.find_rate(material)
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
        show(f"{rate:>10.2e}  {loss:>7.3f}  {'▪' * round(40 * loss / most)}")
    show(f"the loss falls fastest at       {found.steepest:.1e}")
    show(f"a tenth of where it is lowest:  {found.tenth:.1e}  (what `train` takes)")


@teach_group.command("evaluate", epilog="Example: teach evaluate my.bundle other_photos/")
@click.argument("bundle", type=click.Path(path_type=Path))
@data_options
@weights_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def evaluate_command(bundle: Path, as_json: bool, **options: Any) -> None:
    """Says how often the model in BUNDLE is right on DATA, other photos than it learned from."""
    settings = read_settings(options["weights_dir"])
    opened = open_bundle(bundle)
    dataset = _read_dataset(options, settings)
    labels = {photo.source.name: photo.label for photo in dataset.photos}
    wnids = {label.label: label.wnid for label in opened.spec.classes}
    store, tally, failed, unknown = ModelStore(settings), Tally(opened.spec), 0, 0
    make_ready(opened.spec, store, settings)
    sources = [photo.source for photo in dataset.photos]
    for row in ask_about_all(
        sources, [opened.spec], store, settings, opened.record["resize"], total=len(sources)
    ):
        failed += row.failure is not None
        for result in row.results:
            wnid = wnids.get(labels[row.source.name])
            unknown += wnid is None or not tally.add(result, wnid)
    if unknown:
        tell(f"{unknown:,} photos have labels that it was not taught; they do not count.")
    evaluation = tally.evaluate()
    if as_json:
        document = {"schema": SCHEMA, "failed": failed, "unknown": unknown}
        click.echo(json.dumps(document | evaluation.to_dict(), indent=2, ensure_ascii=False))
    else:
        show_evaluation(evaluation, MOST_NAMED)
    sys.exit(1 if failed or not tally.count else 0)


@teach_group.command(
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

    from vgg_demo.teach.export import export

    with quiet_libraries(), writing(out, "Choose another place."), store.use(opened.spec) as model:
        found = export(model, kind, out, look)
    original = opened.spec.weights.size_bytes
    show(f"{out}: {megabytes(found.size_bytes)} (the bundle's network has {megabytes(original)})")
    show(
        f"on {found.photos:,} photos it gives the same first answer for {found.agreement:.1%}; no "
        f"probability differs by more than {found.largest_difference:.2g}"
    )


@teach_group.command("pack", epilog="Example: python -m vgg_demo teach pack my.bundle my.zip")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("archive", type=click.Path(path_type=Path))
def pack_command(bundle: Path, archive: Path) -> None:
    """Writes BUNDLE into a ZIP ARCHIVE, to give it away."""
    open_bundle(bundle)
    pack(bundle, archive)


@teach_group.command("unpack", epilog="Example: python -m vgg_demo teach unpack my.zip my.bundle")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
def unpack_command(archive: Path, bundle: Path) -> None:
    """Makes a BUNDLE of a ZIP ARCHIVE, after checking what is in it."""
    unpack(archive, bundle)
    spec = open_bundle(bundle).spec
    show(f"{spec.name}: {', '.join(label.label for label in spec.classes)}")
    show(f"SHA-256 of its network: {spec.weights.hash}")


def _open(options: dict[str, Any]) -> tuple[Teacher, Dataset]:
    settings = read_settings(options["weights_dir"])
    dataset = _read_dataset(options, settings)
    recipe = Recipe(
        views=options["views"],
        epochs=options["epochs"],
        rate=options["rate"],
        dropout=options["dropout"],
        label_smoothing=options["label_smoothing"],
        mixup=options["mixup"],
        balance=options["balance"],
        validation_share=options["validation"],
        tuning_epochs=options.get("tuning_epochs", 0),
        seed=options["seed"],
    )
    store, cache = ModelStore(settings), FeatureCache(settings.features_file)
    cache.shrink()
    teacher = Teacher(
        get_spec(options["backbone"]),
        recipe,
        settings,
        store,
        cache,
        part=Part(options["part"]),
    )
    make_ready(teacher.body, store, settings)
    return teacher, dataset


def _read_dataset(options: dict[str, Any], settings: Settings) -> Dataset:
    sources = find_photos(options["data"], settings.limits)
    if options["table"] is None:
        dataset = label_by_folders(sources)
    else:
        columns = Columns(options["image_column"], options["label_column"], options["group_column"])
        dataset = label_by_table(sources, read_text(options["table"]), columns)
    dataset = drop_rare(dataset, options.get("fewest", 1))
    if dataset.unlabelled:
        tell(f"{len(dataset.unlabelled):,} photos have no label: {named(dataset.unlabelled)}")
    if dataset.missing:
        tell(f"{len(dataset.missing):,} rows of the table have no photo: {named(dataset.missing)}")
    if dataset.dropped:
        dropped = [f"{label} ({count})" for label, count in dataset.dropped.items()]
        tell(f"Dropped, with too few photos: {named(dropped)}")
    return dataset


def _check(teacher: Teacher, dataset: Dataset) -> Checked:
    with _bar("Looking at photos", len(dataset.photos)) as bar, quiet_libraries():

        def update(progress: Checking) -> None:
            bar.update(progress.done - bar.n)

        checked = run_through(teacher.check(dataset), update)
    for failure in checked.failures:
        tell(f"{failure.file}: {failure.message}")
    tell_report(checked)
    return checked


def _prepare(teacher: Teacher, checked: Checked) -> Material:
    with _bar(f"{teacher.backbone.keras_name} looks", None) as bar, quiet_libraries():

        def update(progress: Any) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        return run_through(teacher.prepare(checked), update)


def _bar(words: str, total: int | None) -> Any:
    return tqdm(
        total=total, desc=words, unit=" views", disable=not is_terminal(), dynamic_ncols=True
    )
