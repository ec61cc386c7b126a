"""A receipt says how a result came about, so that anyone can check it later."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vgg_demo.classify import classify
from vgg_demo.errors import ReceiptError
from vgg_demo.images import DEFAULT_LIMITS, ImageLimits
from vgg_demo.preprocess import Resize
from vgg_demo.registry import get_spec
from vgg_demo.results import Classification, Prediction
from vgg_demo.store import ModelStore
from vgg_demo.version import __version__

RECEIPT_SCHEMA = 1
TOLERANCE = 1e-4
"""Largest difference of a probability at which a replay still counts as the same; other
processors add floats in another order."""


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


def verify_receipt(
    receipt: Any,
    data: bytes,
    store: ModelStore,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Verification:
    """Classifies a photo again and compares with what a receipt says.

    Args:
        receipt: Parsed JSON; nothing about it is trusted.
        data: The photo's bytes.
        store: Where the models are.
        limits: What a picture may be at most.

    Raises:
        ReceiptError: If it is not a receipt.
        VggDemoError: If the photo cannot be classified.
    """
    claimed = _read(receipt)
    if hashlib.sha256(data).hexdigest() != claimed.sha256:
        return Verification(False, ("It is another photo: its SHA-256 differs.",))
    spec = get_spec(claimed.model)
    result = classify(data, spec, store, policy=claimed.resize, limits=limits)
    checks = (
        (True, "The photo is the same, byte for byte."),
        _check(result.weights.sha256 == claimed.weights_sha256, "The weights file"),
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
    left_out = [p.probability for p in actual.values() if p.wnid not in {c.wnid for c in claimed}]
    best = min(p.probability for p in claimed) + TOLERANCE >= max(left_out, default=0.0)
    descending = [p.probability for p in claimed]
    ranked = descending == sorted(descending, reverse=True)
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
    model: str
    weights_sha256: str
    precision: str
    resize: Resize
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    predictions: tuple[Prediction, ...]


def _read(receipt: Any) -> _Claim:
    try:
        if receipt["receipt"] != RECEIPT_SCHEMA:
            raise ValueError(f"its version is {receipt['receipt']!r}, not {RECEIPT_SCHEMA}")
        predictions = tuple(
            Prediction(
                rank=int(p["rank"]),
                index=int(p["index"]),
                wnid=str(p["wnid"]),
                label=str(p["label"]),
                probability=float(p["probability"]),
            )
            for p in receipt["predictions"]
        )
        if not predictions:
            raise ValueError("it holds no predictions")
        if not all(0 <= p.probability <= 1 for p in predictions):
            raise ValueError("a probability is not in [0, 1]")
        return _Claim(
            sha256=str(receipt["sha256"]),
            model=str(receipt["model"]),
            weights_sha256=str(receipt["weights"]["sha256"]),
            precision=str(receipt["precision"]),
            resize=Resize(receipt["resize"]),
            recipe=dict(receipt["recipe"]),
            versions={str(k): str(v) for k, v in receipt["versions"].items()},
            predictions=predictions,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ReceiptError(
            f"This is not a receipt of VGG Demo ({missing[:120]}). "
            "Give the JSON file that was saved with a result."
        ) from error


def _recipe(result: Classification) -> dict[str, Any]:
    spec = get_spec(result.model)
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
