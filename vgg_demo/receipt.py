"""A receipt says how a result came about, so that anyone can check it later."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vgg_demo.classify import classify
from vgg_demo.errors import ReceiptError
from vgg_demo.images import DEFAULT_LIMITS, ImageLimits
from vgg_demo.preprocess import Resize
from vgg_demo.registry import get_spec
from vgg_demo.results import Classification
from vgg_demo.store import ModelStore

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
    from vgg_demo.version import __version__

    spec = get_spec(result.model)
    return {
        "receipt": RECEIPT_SCHEMA,
        **result.to_dict(top),
        "recipe": {
            "input_size": spec.input_size,
            "preprocessing": spec.preprocessing,
            "resize": result.resize,
            "crop_fraction": spec.crop_fraction,
        },
        "versions": {
            "vgg_demo": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in ("tensorflow", "keras", "pillow", "numpy")},
        },
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
    if len(claimed.predictions) > len(result.probabilities):
        raise ReceiptError(
            f"This is not a receipt of VGG Demo: it names {len(claimed.predictions)} answers, "
            f"and {spec.keras_name} has {len(result.probabilities)}. "
            "Give the JSON file that was saved with a result."
        )
    actual = result.predictions(len(claimed.predictions))
    same_weights = result.weights.sha256 == claimed.weights_sha256
    same_order = [p.wnid for p in actual] == [wnid for wnid, _ in claimed.predictions]
    difference = max(
        abs(now.probability - then)
        for now, (_, then) in zip(actual, claimed.predictions, strict=True)
    )
    findings = (
        "The photo is the same, byte for byte.",
        "The weights are the same file." if same_weights else "The weights are another file.",
        "The answers come in the same order." if same_order else "The answers differ.",
        f"The probabilities differ by at most {difference:.1e} ({TOLERANCE:g} is allowed).",
    )
    return Verification(same_weights and same_order and difference <= TOLERANCE, findings)


@dataclass(frozen=True, slots=True)
class _Claim:
    sha256: str
    model: str
    weights_sha256: str
    resize: Resize
    predictions: tuple[tuple[str, float], ...]


def _read(receipt: Any) -> _Claim:
    try:
        if receipt["receipt"] != RECEIPT_SCHEMA:
            raise ValueError(f"its version is {receipt['receipt']!r}, not {RECEIPT_SCHEMA}")
        predictions = tuple(
            (str(p["wnid"]), float(p["probability"])) for p in receipt["predictions"]
        )
        if not predictions:
            raise ValueError("it holds no predictions")
        if not all(0 <= probability <= 1 for _, probability in predictions):
            raise ValueError("a probability is not in [0, 1]")
        return _Claim(
            sha256=str(receipt["sha256"]),
            model=str(receipt["model"]),
            weights_sha256=str(receipt["weights"]["sha256"]),
            resize=Resize(receipt["resize"]),
            predictions=predictions,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ReceiptError(
            f"This is not a receipt of VGG Demo ({missing[:120]}). "
            "Give the JSON file that was saved with a result."
        ) from error


def _version(package: str) -> str:
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
