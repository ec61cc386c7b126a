"""A taught model on disk: a folder with its network, its labels, and how it came about.

A bundle may be a stranger's. Of its network only the numbers are read (`keras_file`), into a
network that is built from what the program knows; its texts are checked one by one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgg_demo.errors import BundleError, FeatureLayerError, UnknownModelError
from vgg_demo.files.printable import printable
from vgg_demo.files.sorting import FORBIDDEN
from vgg_demo.files.writing import writing
from vgg_demo.models.custom import (
    MAX_CLASSES,
    MAX_LABEL_LENGTH,
    CustomModel,
    FeatureLayer,
    custom_classes,
)
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import (
    Accuracy,
    ModelSpec,
    WeightFile,
    backbone_spec,
    feature_count,
    get_spec,
)

MODEL, LABELS, SPEC = "model.keras", "labels.json", "spec.json"
FILES = (MODEL, LABELS, SPEC)
SCHEMA = 1

MAX_TEXT_BYTES = 1_000_000
MAX_MODEL_BYTES = 2 * 10**9
SPARE_MODEL_BYTES = 20_000_000
"""By which a network's file may be larger than its numbers: its description, and what HDF5 adds."""

UNFIT = (KeyError, TypeError, ValueError, OverflowError, OSError)
"""What comes of values that are of another kind, or are not there."""

DIGITS = 16
"""Of the digest in a model's name: models of all visitors are kept under their names, and nobody
is to find another of the same."""

TEMPERATURES = (0.01, 100.0)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A taught model and how it came about.

    Attributes:
        spec: The model, like any other.
        record: What `spec.json` says: recipe, data, figures, versions. A stranger may have
            written anything there.
    """

    spec: ModelSpec
    record: Mapping[str, Any]


def custom_spec(
    name: str,
    custom: CustomModel,
    *,
    model_sha256: str,
    model_bytes: int,
    accuracy: float | None = None,
) -> ModelSpec:
    """Returns the spec of a taught model.

    Args:
        name: Its name.
        custom: What it was taught.
        model_sha256: Of its network's file, 64 hex digits.
        model_bytes: Size of that.
        accuracy: Share of its own validation photos that it had right, in [0, 1].
    """
    backbone = get_spec(custom.backbone)
    feature_extractor, features = (
        backbone_spec(backbone, custom.feature_layer),
        feature_count(backbone, custom.feature_layer),
    )
    return ModelSpec(
        # Two bundles may have one name, or that of a model of Keras.
        name=f"{name}@{_digest(custom, model_sha256)}",
        keras_name=name,
        module=feature_extractor.module,
        labels="custom",
        input_size=feature_extractor.input_size,
        preprocessing=feature_extractor.preprocessing,
        crop_fraction=feature_extractor.crop_fraction,
        parameters=feature_extractor.parameters + (features + 1) * len(custom.classes),
        cam_layer=feature_extractor.cam_layer,
        weights=WeightFile(MODEL, "", model_sha256, model_bytes),
        accuracy=None
        if accuracy is None
        else Accuracy(
            top1=round(100 * accuracy, 1),
            top5=None,
            test_set="its own validation photos",
            source=SPEC,
        ),
        custom=custom,
    )


def _digest(custom: CustomModel, model_sha256: str) -> str:
    """Returns `DIGITS` hex digits of all that decides what a model answers."""
    parts = [
        model_sha256,
        custom.backbone,
        custom.feature_layer.value,
        repr(custom.temperature),
        repr(custom.unknown_below),
        *(label.label for label in custom.classes),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]


def open_bundle(folder: Path) -> Bundle:
    """Opens a bundle and checks what can be checked without its network.

    Raises:
        BundleError: If it is none, is damaged, or says what cannot be.
    """
    record = _read_json(folder / SPEC, dict)
    labels = _read_json(folder / LABELS, list)
    try:
        if record["schema"] != SCHEMA:
            raise ValueError(f"its schema is {record['schema']!r}, not {SCHEMA}")
        names = _check_labels(labels)
        Resize(_text(record["resize"]))
        custom = CustomModel(
            bundle=folder,
            backbone=get_spec(_text(record["backbone"])).name,
            feature_layer=FeatureLayer(_text(record["feature_layer"])),
            classes=custom_classes(names),
            temperature=_number(record["temperature"], *TEMPERATURES),
            unknown_below=_number(record["unknown_below"], 0.0, 1.0),
        )
        spec = custom_spec(
            bundle_name(folder),
            custom,
            model_sha256=_hash(record["model_sha256"]),
            model_bytes=(folder / MODEL).stat().st_size,
            accuracy=_number(record["metrics"]["accuracy"], 0.0, 1.0),
        )
    except (
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        OSError,
        FeatureLayerError,
        UnknownModelError,
    ) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise unusable(folder, reason) from error
    if spec.weights.size_bytes > 4 * spec.parameters + SPARE_MODEL_BYTES:
        raise unusable(folder, f"{MODEL} is larger than such a network can be")
    return Bundle(spec, record)


def write_bundle(
    folder: Path, labels: Sequence[str], record: Mapping[str, Any], model: Path
) -> None:
    """Writes a bundle: all of it, or nothing.

    Args:
        folder: Where; it must not be there yet.
        labels: Names of the classes, in the order of the outputs.
        record: What there is to say of it; see `open_bundle` for what must be among it.
        model: The network's file, which is moved there.

    Raises:
        BundleError: If there is something at that place.
        FileUnwritableError: If it cannot be written.
    """
    ensure_free(folder)
    feature_layer = folder.with_name(f".{folder.name}.part")
    with writing(folder, "Choose another place."):
        shutil.rmtree(feature_layer, ignore_errors=True)
        feature_layer.mkdir(parents=True)
        try:
            shutil.move(model, feature_layer / MODEL)
            named = [{"label": label} for label in labels]
            (feature_layer / LABELS).write_text(
                json.dumps(named, indent=2, ensure_ascii=False), "utf-8"
            )
            (feature_layer / SPEC).write_text(
                json.dumps(record, indent=2, ensure_ascii=False), "utf-8"
            )
            feature_layer.rename(folder)
        finally:
            shutil.rmtree(feature_layer, ignore_errors=True)


def ensure_free(folder: Path) -> None:
    """Makes sure, before anything is learned, that a bundle can be written.

    Raises:
        BundleError: If there is something at that place.
        FileUnwritableError: If it cannot be written.
    """
    with writing(folder, "Choose another place."):
        if folder.exists():
            raise BundleError(f"{str(folder)!r} is there already. Choose another name.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent):
            pass


def with_threshold(bundle: Bundle, unknown_below: float) -> Bundle:
    """Changes the probability below which a model is called unsure, on disk too.

    Its name, which tells all that decides what it answers, changes with it.

    Args:
        bundle: The model; it is not to be used any more.
        unknown_below: In [0, 1].

    Raises:
        FileUnwritableError: If it cannot be written.
    """
    assert bundle.spec.custom is not None  # noqa: S101  # what a bundle is
    folder = bundle.spec.custom.bundle
    record = dict(bundle.record) | {"unknown_below": unknown_below}
    feature_layer = folder / f".{SPEC}.part"
    with writing(folder / SPEC, "Check its permissions."):
        feature_layer.write_text(json.dumps(record, indent=2, ensure_ascii=False), "utf-8")
        feature_layer.replace(folder / SPEC)
    return open_bundle(folder)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundle_name(folder: Path) -> str:
    """Returns what a bundle's model is called: the folder's name, without its ending.

    >>> bundle_name(Path("models/My clothes.bundle")), bundle_name(Path("v1.mobilenet_v2"))
    ('My clothes', 'v1.mobilenet_v2')
    """
    name = printable(folder.name.removesuffix(".bundle"))[:MAX_LABEL_LENGTH].strip(" .")
    # A comma stands between names where there are several.
    return "".join("_" if sign in FORBIDDEN + "," else sign for sign in name) or "custom"


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle, by what is in it."""
    try:
        return (path / SPEC).is_file() and (path / MODEL).is_file()
    except (OSError, ValueError):
        return False


def _read_json(path: Path, kind: type) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise ValueError(f"{path.name} has more than {MAX_TEXT_BYTES:,} bytes")
        found = json.loads(data)
    except OSError as error:
        raise unusable(path.parent, f"{path.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise unusable(path.parent, f"{path.name}: {error}") from error
    if not isinstance(found, kind):
        raise unusable(path.parent, f"{path.name} is no {kind.__name__}")
    return found


def _check_labels(labels: Sequence[Any]) -> tuple[str, ...]:
    names = tuple(_text(label["label"]) for label in labels)
    if not 2 <= len(names) <= MAX_CLASSES or len(set(names)) < len(names):
        raise ValueError(f"it has {len(set(names))} different labels of {len(names)}")
    for name in names:
        if not name.strip() or len(name) > MAX_LABEL_LENGTH or not name.isprintable():
            raise ValueError(f"{name[:60]!r} is no label")
    return names


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:60]!r} is no text")
    return value


def _number(value: object, low: float, high: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
        raise ValueError(f"{str(value)[:60]!r} is no number from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]


def _hash(value: object) -> str:
    if not SHA256.fullmatch(_text(value)):
        raise ValueError(f"{str(value)[:70]!r} is no SHA-256")
    return str(value)


def unusable(path: Path, reason: str) -> BundleError:
    """Returns the error that says why something is no bundle."""
    return BundleError(
        f"{str(path)!r} cannot be used as a bundle: {printable(reason)[:200]}. "
        "Get it anew, or train it again."
    )
