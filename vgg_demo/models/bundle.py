"""Bundles: folders with a custom model, its labels and the record of its training.

A bundle is untrusted. Only the weights are read from its model file (`keras_file`), into a network
that is built from the registry; every string and number is validated.
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
from vgg_demo.files.writing import report_write_errors
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

MODEL_FILE, LABELS_FILE, SPEC_FILE = "model.keras", "labels.json", "spec.json"
BUNDLE_FILES = (MODEL_FILE, LABELS_FILE, SPEC_FILE)
SCHEMA = 2

MAX_TEXT_BYTES = 1_000_000
MAX_MODEL_BYTES = 2 * 10**9
MODEL_OVERHEAD_BYTES = 20_000_000
"""Maximum size of a model file beyond its weights: the architecture, and the HDF5 structure."""

DIGEST_LENGTH = 16
"""Hex digits of the digest in a model's name. The model store and the caches of all visitors use
the name as the key, so it must be infeasible to construct a second model with the same name."""

TEMPERATURE_RANGE = (0.01, 100.0)
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A custom model and the record of its training.

    Attributes:
        spec: The model.
        record: Content of `spec.json`: recipe, data, metrics, versions. Untrusted.
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
    """Returns the spec of a custom model.

    Args:
        name: Its name, without the digest.
        custom: Its backbone, classes, temperature and unknown threshold.
        model_sha256: SHA-256 of the model file, 64 hex digits.
        model_bytes: Size of the model file.
        accuracy: Validation accuracy, in [0, 1]; None if unknown.
    """
    backbone = get_spec(custom.backbone)
    feature_extractor = backbone_spec(backbone, custom.feature_layer)
    features = feature_count(backbone, custom.feature_layer)
    return ModelSpec(
        # The digest distinguishes bundles with the same name, and a bundle from a Keras model.
        name=f"{name}@{_digest(custom, model_sha256)}",
        keras_name=name,
        module=feature_extractor.module,
        labels="custom",
        input_size=feature_extractor.input_size,
        preprocessing=feature_extractor.preprocessing,
        crop_fraction=feature_extractor.crop_fraction,
        parameters=feature_extractor.parameters + (features + 1) * len(custom.classes),
        cam_layer=feature_extractor.cam_layer,
        weights=WeightFile(MODEL_FILE, "", model_sha256, model_bytes),
        accuracy=None
        if accuracy is None
        else Accuracy(
            top1=round(100 * accuracy, 1),
            top5=None,
            test_set="held-out photos",
            source=SPEC_FILE,
        ),
        custom=custom,
    )


def _digest(custom: CustomModel, model_sha256: str) -> str:
    """Returns `DIGEST_LENGTH` hex digits of everything that determines a model's predictions."""
    parts = [
        model_sha256,
        custom.backbone,
        custom.feature_layer.value,
        repr(custom.temperature),
        repr(custom.unknown_threshold),
        *(label.label for label in custom.classes),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGEST_LENGTH]


def open_bundle(folder: Path) -> Bundle:
    """Opens a bundle and validates everything except its model file.

    Raises:
        BundleError: If the folder is not a bundle, is damaged, or contains invalid values.
    """
    record = _read_json(folder / SPEC_FILE, dict)
    labels = _read_json(folder / LABELS_FILE, list)
    try:
        if record["schema"] != SCHEMA:
            raise ValueError(f"its schema is {record['schema']!r}, not {SCHEMA}")
        names = _validated_labels(labels)
        Resize(_text(record["resize"]))
        custom = CustomModel(
            bundle=folder,
            backbone=get_spec(_text(record["backbone"])).name,
            feature_layer=FeatureLayer(_text(record["feature_layer"])),
            classes=custom_classes(names),
            temperature=_number(record["temperature"], *TEMPERATURE_RANGE),
            unknown_threshold=_number(record["unknown_threshold"], 0.0, 1.0),
        )
        spec = custom_spec(
            bundle_name(folder),
            custom,
            model_sha256=_hash(record["model_sha256"]),
            model_bytes=(folder / MODEL_FILE).stat().st_size,
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
        reason = (
            f"{SPEC_FILE} or {LABELS_FILE} has no {error}"
            if isinstance(error, KeyError)
            else str(error)
        )
        raise unusable_bundle(folder, reason) from error
    if spec.weights.size_bytes > 4 * spec.parameters + MODEL_OVERHEAD_BYTES:
        raise unusable_bundle(folder, f"{MODEL_FILE} is larger than its architecture allows")
    return Bundle(spec, record)


def write_bundle(
    folder: Path, labels: Sequence[str], record: Mapping[str, Any], model: Path
) -> None:
    """Writes a bundle atomically.

    Args:
        folder: The bundle; must not exist yet.
        labels: Names of the classes, in the order of the outputs.
        record: Content of `spec.json`; `open_bundle` shows the required keys.
        model: The model file, which is moved into the bundle.

    Raises:
        BundleError: If the folder already exists.
        FileUnwritableError: If the bundle cannot be written.
    """
    check_destination(folder)
    partial = folder.with_name(f".{folder.name}.part")
    with report_write_errors(folder, "Choose another location."):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            shutil.move(model, partial / MODEL_FILE)
            _write_json(partial / LABELS_FILE, [{"label": label} for label in labels])
            _write_json(partial / SPEC_FILE, record)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def check_destination(folder: Path) -> None:
    """Checks, before training starts, that a bundle can be written.

    Raises:
        BundleError: If the folder already exists.
        FileUnwritableError: If its parent folder is not writable.
    """
    with report_write_errors(folder, "Choose another location."):
        if folder.exists():
            raise BundleError(f"{str(folder)!r} already exists. Choose another name.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent):
            pass


def set_unknown_threshold(bundle: Bundle, unknown_threshold: float) -> Bundle:
    """Sets the unknown threshold of a bundle, also on disk.

    The model's name changes too, because its digest covers the threshold.

    Args:
        bundle: The bundle; do not use it afterward.
        unknown_threshold: Probability below which a prediction is "not sure", in [0, 1].

    Returns:
        The changed bundle.

    Raises:
        FileUnwritableError: If the bundle cannot be written.
    """
    assert bundle.spec.custom is not None  # noqa: S101  # true for every bundle
    folder = bundle.spec.custom.bundle
    record = dict(bundle.record) | {"unknown_threshold": unknown_threshold}
    partial = folder / f".{SPEC_FILE}.part"
    with report_write_errors(folder / SPEC_FILE, "Check its permissions."):
        _write_json(partial, record)
        partial.replace(folder / SPEC_FILE)
    return open_bundle(folder)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundle_name(folder: Path) -> str:
    """Returns the name of a bundle's model: the folder's name without its suffix.

    >>> bundle_name(Path("models/My clothes.bundle")), bundle_name(Path("v1.mobilenet_v2"))
    ('My clothes', 'v1.mobilenet_v2')
    """
    name = printable(folder.name.removesuffix(".bundle"))[:MAX_LABEL_LENGTH].strip(" .")
    # Lists of model names are separated by commas.
    return "".join("_" if char in FORBIDDEN + "," else char for char in name) or "custom"


def is_bundle(path: Path) -> bool:
    """Whether a path is a folder with the model and the record of a bundle."""
    try:
        return (path / SPEC_FILE).is_file() and (path / MODEL_FILE).is_file()
    except (OSError, ValueError):
        return False


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), "utf-8")


def _read_json(path: Path, expected: type) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise ValueError(f"{path.name} is larger than {MAX_TEXT_BYTES:,} bytes")
        value = json.loads(data)
    except OSError as error:
        raise unusable_bundle(path.parent, f"{path.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise unusable_bundle(path.parent, f"{path.name}: {error}") from error
    if not isinstance(value, expected):
        raise unusable_bundle(path.parent, f"{path.name} is not a {expected.__name__}")
    return value


def _validated_labels(labels: Sequence[Any]) -> tuple[str, ...]:
    names = tuple(_text(label["label"]) for label in labels)
    if not 2 <= len(names) <= MAX_CLASSES or len(set(names)) < len(names):
        raise ValueError(
            f"it has {len(names)} labels, {len(set(names))} of them different; "
            f"it must have 2 to {MAX_CLASSES}, all different"
        )
    for name in names:
        if not name.strip() or len(name) > MAX_LABEL_LENGTH or not name.isprintable():
            raise ValueError(f"{name[:60]!r} is not a valid label")
    return names


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:60]!r} is not a string")
    return value


def _number(value: object, low: float, high: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type, operator]
        raise ValueError(f"{str(value)[:60]!r} is not a number from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]


def _hash(value: object) -> str:
    if not SHA256_PATTERN.fullmatch(_text(value)):
        raise ValueError(f"{str(value)[:70]!r} is not a SHA-256")
    return str(value)


def unusable_bundle(path: Path, reason: str) -> BundleError:
    """Returns the error for a path that is not a usable bundle."""
    return BundleError(
        f"{str(path)!r} cannot be used as a bundle: {printable(reason)[:200]}. "
        "Copy the bundle again, or train the model again."
    )
