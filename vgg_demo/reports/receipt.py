"""A receipt says how a result came about, so that anyone can check it later."""

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
from vgg_demo.inference.results import Classification, Prediction
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.version import __version__
from vgg_demo.weights.local import LocalWeights

RECEIPT_SCHEMA = 1
MAX_RECEIPT_BYTES = 2**20  # a thousand answers take a fifth of it
TOLERANCE = 1e-4
"""Largest difference of a probability at which a replay still counts as the same; other
processors add floats in another order."""

_WHICH_FILE = "Give the JSON file that was saved with an answer."
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of a replay.

    Attributes:
        holds: Whether the receipt is confirmed.
        findings: One sentence per thing that was compared.
    """

    holds: bool
    findings: tuple[str, ...]


def make_receipt(result: Classification, top: int = 5) -> dict[str, Any]:
    """Returns a result with its recipe and the versions behind it, as plain JSON values."""
    return {
        "receipt": RECEIPT_SCHEMA,
        **result.to_dict(top),
        "recipe": _recipe(result),
        "versions": _versions(),
    }


def parse_receipt(data: bytes) -> Any:
    """Reads the JSON of a receipt; `verify_receipt` looks at what is in it.

    Raises:
        ReceiptError: If it is too long for a receipt, or not JSON.
    """
    if len(data) > MAX_RECEIPT_BYTES:
        raise ReceiptError(
            f"The file has more than {MAX_RECEIPT_BYTES / 2**20:.0f} MB; a receipt has a few "
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
    """Classifies a photo again and compares with what a receipt says.

    Args:
        receipt: Parsed JSON; nothing about it is trusted.
        photo: The photo.
        store: Where the models are.
        prepare_model: Called with the model once it is known to be needed, before it is asked;
            a door can download there and show how far it is.
        models: Those that may have answered, by their names.

    Raises:
        ReceiptError: If it is not a receipt.
        ModelError: If the model cannot be loaded.
    """
    claimed = _read(receipt, models)
    if photo.sha256 != claimed.sha256:
        return Verification(False, ("It is another photo: its SHA-256 differs.",))
    if prepare_model is not None:
        prepare_model(claimed.spec)
    result = classify_photo(photo, claimed.spec, store, resize=claimed.resize)
    checks = (
        (True, "The photo is the same, byte for byte."),
        _check(result.weights == claimed.weights, "The weights file"),
        _check(result.precision == claimed.precision, "The precision"),
        _check(_recipe(result) == claimed.recipe, "The recipe"),
        _compare_answers(result, claimed.predictions),
    )
    findings = tuple(finding for _, finding in checks)
    return Verification(all(holds for holds, _ in checks), findings + _other(claimed.versions))


def _check(same: bool, what: str) -> tuple[bool, str]:
    return same, f"{what} is {'the same' if same else 'another one'}."


def _compare_answers(result: Classification, claimed: tuple[Prediction, ...]) -> tuple[bool, str]:
    """Compares class by class: near ties may change places within the tolerance."""
    actual = {p.wnid: p for p in result.predictions(len(result.probabilities))}
    if any(
        (p.wnid not in actual) or (p.index, p.label) != (actual[p.wnid].index, actual[p.wnid].label)
        for p in claimed
    ):
        return False, "The answers name classes that the model does not have."
    if len({p.wnid for p in claimed}) < len(claimed):
        return False, "The answers name a class twice."
    difference = max(abs(p.probability - actual[p.wnid].probability) for p in claimed)
    named = {p.wnid for p in claimed}
    left_out = [p.probability for p in actual.values() if p.wnid not in named]
    best = min(p.probability for p in claimed) + TOLERANCE >= max(left_out, default=0.0)
    descending = [p.probability for p in claimed]
    counted = [p.rank for p in claimed] == list(range(1, len(claimed) + 1))
    ranked = counted and descending == sorted(descending, reverse=True)
    return (
        difference <= TOLERANCE and best and ranked,
        f"The answers {'are' if best and ranked else 'are not'} the most probable ones, best "
        f"first; their probabilities differ by at most {difference:.1e} "
        f"({TOLERANCE:g} is allowed).",
    )


def _other(versions: Mapping[str, str]) -> tuple[str, ...]:
    here = _versions()
    return tuple(
        f"Made with {name} {version}; here it is {here.get(name, 'missing')}."
        for name, version in versions.items()
        if here.get(name) != version
    )


@dataclass(frozen=True, slots=True)
class _Claim:
    sha256: str
    spec: ModelSpec
    weights: LocalWeights
    precision: str
    resize: Resize
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    predictions: tuple[Prediction, ...]


_KINDS = {
    bool: "true or false",
    dict: "a JSON object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "text",
}


def _read(receipt: Any, models: Mapping[str, ModelSpec]) -> _Claim:
    try:
        if _get(receipt, "receipt", int) != RECEIPT_SCHEMA:
            raise ValueError(f"its version is not {RECEIPT_SCHEMA}")
        model = _get(receipt, "model", str)
        if model not in models:
            hint = "; a taught one needs its bundle" if "@" in model else ""
            raise ValueError(f"its model {model[:60]!r} is not known here{hint}")
        resize = _get(receipt, "resize", str)
        if resize not in list(Resize):
            raise ValueError(f"its way to resize, {resize[:60]!r}, is not known here")
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
            f"This is not a receipt of VGG Demo that can be replayed: {error}. {_WHICH_FILE}"
        ) from error


def _read_predictions(claimed: list[Any]) -> tuple[Prediction, ...]:
    if not claimed:
        raise ValueError("it holds no predictions")
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


def _get(record: Any, name: str, kind: type[_T]) -> _T:
    """Returns a value of a JSON object.

    The messages never quote what came: it may be endless, or too deep to be written.

    Raises:
        ValueError: If it is not there or of another kind.
    """
    if not isinstance(record, dict):
        raise ValueError(f"where {name!r} is looked for there is no JSON object")
    if name not in record:
        raise ValueError(f"{name!r} is missing")
    value = record[name]
    # JSON knows one kind of number; a probability of 1.0 may come back as 1.
    is_number = kind is float and type(value) is int
    if type(value) is not kind and not is_number:
        raise ValueError(f"{name!r} is not {_KINDS[kind]}")
    found: _T = value
    return found


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
