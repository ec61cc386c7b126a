"""Receipts: how a result was produced, so that anyone can verify it later."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from vgg_demo.errors import ReceiptError
from vgg_demo.images.photo import Photo
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Classification, Prediction
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.version import __version__
from vgg_demo.weights.local import LocalWeights

RECEIPT_SCHEMA = 1
MAX_RECEIPT_BYTES = 2**20
"""Maximum size of a receipt; one with a thousand predictions takes a fifth of this."""

TOLERANCE = 1e-4
"""Maximum difference of a probability; other processors add floats in another order."""

_WHICH_FILE = "Choose the JSON file that was downloaded as the receipt of a result."
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of verifying a receipt.

    Attributes:
        is_confirmed: Whether the receipt is confirmed.
        findings: One sentence per comparison.
    """

    is_confirmed: bool
    findings: tuple[str, ...]


def make_receipt(result: Classification, top: int = 5) -> dict[str, Any]:
    """Returns a result with its preprocessing recipe and package versions, as plain JSON values."""
    return {
        "receipt": RECEIPT_SCHEMA,
        **result.to_dict(top),
        "recipe": _recipe(result),
        "versions": _versions(),
    }


def parse_receipt(data: bytes) -> Any:
    """Parses the JSON of a receipt; `verify_receipt` validates its content.

    Raises:
        ReceiptError: If the file is larger than `MAX_RECEIPT_BYTES` or not JSON.
    """
    if len(data) > MAX_RECEIPT_BYTES:
        raise ReceiptError(
            f"The file is larger than {MAX_RECEIPT_BYTES / 2**20:.0f} MB; a receipt is a few "
            f"kilobytes. {_WHICH_FILE}"
        )
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReceiptError(f"The receipt is not JSON ({error}). {_WHICH_FILE}") from error


def verify_receipt(
    receipt: Any,
    photo: Photo,
    store: ModelStore,
    prepare_model: Callable[[ModelSpec], object] | None = None,
    models: Mapping[str, ModelSpec] = MODELS,
) -> Verification:
    """Classifies a photo again and compares the result with a receipt.

    Args:
        receipt: Parsed JSON, untrusted.
        photo: The photo.
        store: Provides the models.
        prepare_model: Called with the model before it is used, for example to download its
            weights and show the progress. Not called if the photo is a different one.
        models: Accepted models by name.

    Raises:
        ReceiptError: If `receipt` is not a valid receipt.
        ModelError: If the model cannot be loaded.
    """
    claimed = _read(receipt, models)
    if photo.sha256 != claimed.sha256:
        return Verification(False, ("This is a different photo: its SHA-256 does not match.",))
    if prepare_model is not None:
        prepare_model(claimed.spec)
    result = classify_photo(photo, claimed.spec, store, resize=claimed.resize)
    checks = (
        (True, "The photo is the same, byte for byte."),
        _check(result.weights == claimed.weights, "The weight file"),
        _check(result.precision == claimed.precision, "The precision"),
        _check(_recipe(result) == claimed.recipe, "The preprocessing"),
        _compare_predictions(result, claimed.predictions),
    )
    findings = tuple(finding for _, finding in checks)
    return Verification(
        all(passed for passed, _ in checks), findings + _changed_versions(claimed.versions)
    )


def _check(is_same: bool, name: str) -> tuple[bool, str]:
    return is_same, f"{name} is {'the same' if is_same else 'different'}."


def _compare_predictions(
    result: Classification, claimed: tuple[Prediction, ...]
) -> tuple[bool, str]:
    """Compares class by class, because near ties may swap places within the tolerance."""
    actual = {p.wnid: p for p in result.predictions(len(result.probabilities))}
    if any(
        (p.wnid not in actual) or (p.index, p.label) != (actual[p.wnid].index, actual[p.wnid].label)
        for p in claimed
    ):
        return False, "The predictions name classes that the model does not have."
    if len({p.wnid for p in claimed}) < len(claimed):
        return False, "The predictions name a class twice."
    difference = max(abs(p.probability - actual[p.wnid].probability) for p in claimed)
    named = {p.wnid for p in claimed}
    left_out = [p.probability for p in actual.values() if p.wnid not in named]
    is_top = min(p.probability for p in claimed) + TOLERANCE >= max(left_out, default=0.0)
    probabilities = [p.probability for p in claimed]
    has_ranks = [p.rank for p in claimed] == list(range(1, len(claimed) + 1))
    is_sorted = has_ranks and probabilities == sorted(probabilities, reverse=True)
    return (
        difference <= TOLERANCE and is_top and is_sorted,
        f"The predictions {'are' if is_top and is_sorted else 'are not'} the most probable "
        f"classes, best first; their probabilities differ by at most {difference:.2g} "
        f"(tolerance: {TOLERANCE:g}).",
    )


def _changed_versions(versions: Mapping[str, str]) -> tuple[str, ...]:
    installed = _versions()
    return tuple(
        f"The receipt was made with {name} {version}; the installed version is "
        f"{installed.get(name, 'missing')}."
        for name, version in versions.items()
        if installed.get(name) != version
    )


@dataclass(frozen=True, slots=True)
class _Claim:
    """The validated content of a receipt."""

    sha256: str
    spec: ModelSpec
    weights: LocalWeights
    precision: str
    resize: Resize
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    predictions: tuple[Prediction, ...]


_TYPE_NAMES = {
    bool: "true or false",
    dict: "a JSON object",
    float: "a number",
    int: "an integer",
    list: "a list",
    str: "a string",
}


def _read(receipt: Any, models: Mapping[str, ModelSpec]) -> _Claim:
    try:
        if _get(receipt, "receipt", int) != RECEIPT_SCHEMA:
            raise ValueError(f"its version is not {RECEIPT_SCHEMA}")
        model = _get(receipt, "model", str)
        if model not in models:
            hint = "; a custom model requires its bundle" if "@" in model else ""
            raise ValueError(f"its model {model[:60]!r} is unknown{hint}")
        resize = _get(receipt, "resize", str)
        if resize not in list(Resize):
            raise ValueError(f"its resize method {resize[:60]!r} is unknown")
        weights = _get(receipt, "weights", dict)
        versions = _get(receipt, "versions", dict)
        return _Claim(
            sha256=_get(receipt, "sha256", str),
            spec=models[model],
            weights=LocalWeights(
                file=_get(weights, "file", str),
                sha256=_get(weights, "sha256", str),
                verified=_get(weights, "verified", bool),
            ),
            precision=_get(receipt, "precision", str),
            resize=Resize(resize),
            recipe=_get(receipt, "recipe", dict),
            versions={
                name: _get(versions, name, str)[:60] for name in _versions() if name in versions
            },
            predictions=_read_predictions(_get(receipt, "predictions", list)),
        )
    except ValueError as error:
        raise ReceiptError(
            f"This is not a VGG Demo receipt that can be verified: {error}. {_WHICH_FILE}"
        ) from error


def _read_predictions(claimed: list[Any]) -> tuple[Prediction, ...]:
    if not claimed:
        raise ValueError("it contains no predictions")
    predictions = tuple(
        Prediction(
            rank=_get(prediction, "rank", int),
            index=_get(prediction, "index", int),
            wnid=_get(prediction, "wnid", str),
            label=_get(prediction, "label", str),
            probability=_get(prediction, "probability", float),
        )
        for prediction in claimed
    )
    if not all(0 <= prediction.probability <= 1 for prediction in predictions):
        raise ValueError("a probability is not in [0, 1]")
    return predictions


def _get(record: Any, name: str, expected: type[_T]) -> _T:
    """Returns a value of a JSON object.

    The messages never quote the value received: it may be arbitrarily long or deeply nested.

    Raises:
        ValueError: If the value is missing or of another type.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object with {name!r} is expected, but it is something else")
    if name not in record:
        raise ValueError(f"{name!r} is missing")
    value = record[name]
    # JSON has one number type; a probability of 1.0 may come back as 1.
    is_number = expected is float and type(value) is int
    if type(value) is not expected and not is_number:
        raise ValueError(f"{name!r} is not {_TYPE_NAMES[expected]}")
    typed_value: _T = value
    return typed_value


def _recipe(result: Classification) -> dict[str, Any]:
    spec = result.spec
    return {
        "input_size": spec.input_size,
        "preprocessing": spec.preprocessing,
        "resize": result.resize,
        "crop_fraction": spec.crop_fraction,
    }


def _versions() -> dict[str, str]:
    packages = ("tensorflow", "keras", "pillow", "numpy")
    return {
        "vgg_demo": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
