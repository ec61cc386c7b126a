"""Receipts: results can be verified later, and forged receipts are detected."""

from __future__ import annotations

import pytest

from vgg_demo.errors import ReceiptError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.reports.receipt import make_receipt, verify_receipt

MINI_VGG = get_spec("mini_vgg")


def test_receipt_of_the_same_photo_is_confirmed(
    photos: dict[str, bytes], store: ModelStore
) -> None:
    receipt = make_receipt(classify(photos["cat"], MINI_VGG, store, resize=Resize.PAD))
    verification = verify_receipt(receipt, open_photo(photos["cat"]), store)
    assert verification.is_confirmed
    assert receipt["recipe"]["resize"] == "pad"
    assert all(value != "unknown" for value in receipt["versions"].values())


def test_receipt_of_another_photo_is_not_confirmed(
    photos: dict[str, bytes], store: ModelStore
) -> None:
    receipt = make_receipt(classify(photos["cat"], MINI_VGG, store))
    verification = verify_receipt(receipt, open_photo(photos["dog"]), store)
    assert not verification.is_confirmed
    assert "SHA-256 does not match" in verification.findings[0]


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda r: r["weights"].update(sha256="0" * 64), "weight file is different"),
        (lambda r: r["predictions"].reverse(), "are not the most probable"),
        (lambda r: r["predictions"].pop(0), "are not the most probable"),
        (lambda r: r["predictions"][0].update(probability=0.5), "differ by at most"),
        (lambda r: r["predictions"][0].update(label="yacht"), "does not have"),
        (lambda r: r["predictions"][0].update(index=3), "does not have"),
        (lambda r: r["predictions"].append(dict(r["predictions"][-1])), "twice"),
        (lambda r: r.update(resize="squash"), "preprocessing is different"),
        (lambda r: r["recipe"].update(preprocessing="caffe"), "preprocessing is different"),
        (lambda r: r.update(precision="int8"), "precision is different"),
    ],
    ids=[
        "weights",
        "order",
        "left out",
        "probability",
        "label",
        "index",
        "twice",
        "resize",
        "recipe",
        "precision",
    ],
)
def test_forged_receipt_is_not_confirmed(
    photos: dict[str, bytes], store: ModelStore, forge, message: str
) -> None:
    receipt = make_receipt(classify(photos["rocket"], MINI_VGG, store))
    forge(receipt)
    verification = verify_receipt(receipt, open_photo(photos["rocket"]), store)
    assert not verification.is_confirmed
    assert any(message in finding for finding in verification.findings)


@pytest.mark.parametrize(
    "receipt",
    [None, [], 3, "text", {}, {"receipt": 2}, {"receipt": 1, "predictions": []}],
    ids=str,
)
def test_json_that_is_not_a_receipt_is_rejected(
    receipt, photos: dict[str, bytes], store: ModelStore
) -> None:
    with pytest.raises(ReceiptError, match="not a VGG Demo receipt"):
        verify_receipt(receipt, open_photo(photos["cat"]), store)


def test_malicious_receipt_is_rejected(photos: dict[str, bytes], store: ModelStore) -> None:
    receipt = make_receipt(classify(photos["cat"], MINI_VGG, store))
    cat = open_photo(photos["cat"])
    assert verify_receipt(receipt | {"versions": {"keras": "2.0"}}, cat, store).is_confirmed
    prediction = receipt["predictions"][0]
    for field, value in [
        ("predictions", [prediction | {"probability": 10**400}]),
        ("predictions", [prediction | {"probability": float("nan")}]),
        ("recipe", 5),
        ("versions", [1]),
        ("predictions", [{"wnid": "n0", "probability": "NaN"}]),
        ("predictions", [{"wnid": "n0", "probability": 0.1}] * 5000),
        ("predictions", "xyz"),
        ("weights", 7),
        ("resize", "melt"),
    ]:
        with pytest.raises(ReceiptError, match="not a VGG Demo receipt"):
            verify_receipt(receipt | {field: value}, cat, store)
