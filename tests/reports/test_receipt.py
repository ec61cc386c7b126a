"""Receipts: what one says can be checked later, and nobody can forge one."""

from __future__ import annotations

import pytest

from vgg_demo.errors import ReceiptError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.reports.receipt import make_receipt, verify_receipt

MINI_VGG = get_spec("mini_vgg")


def test_a_receipt_holds(photos: dict[str, bytes], store: ModelStore) -> None:
    receipt = make_receipt(classify(photos["cat"], MINI_VGG, store, resize=Resize.PAD))
    verification = verify_receipt(receipt, open_photo(photos["cat"]), store)
    assert verification.holds
    assert receipt["recipe"]["resize"] == "pad"
    assert all(value != "unknown" for value in receipt["versions"].values())


def test_a_receipt_of_another_photo(photos: dict[str, bytes], store: ModelStore) -> None:
    receipt = make_receipt(classify(photos["cat"], MINI_VGG, store))
    verification = verify_receipt(receipt, open_photo(photos["dog"]), store)
    assert not verification.holds
    assert "another photo" in verification.findings[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["weights"].update(sha256="0" * 64), "weights file is another"),
        (lambda r: r["predictions"].reverse(), "are not the most probable"),
        (lambda r: r["predictions"].pop(0), "are not the most probable"),
        (lambda r: r["predictions"][0].update(probability=0.5), "differ by at most"),
        (lambda r: r["predictions"][0].update(label="yacht"), "does not have"),
        (lambda r: r["predictions"][0].update(index=3), "does not have"),
        (lambda r: r["predictions"].append(dict(r["predictions"][-1])), "twice"),
        (lambda r: r.update(resize="squash"), "recipe is another"),
        (lambda r: r["recipe"].update(preprocessing="caffe"), "recipe is another"),
        (lambda r: r.update(precision="int8"), "precision is another"),
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
def test_a_forged_receipt_does_not_hold(
    photos: dict[str, bytes], store: ModelStore, change, words: str
) -> None:
    receipt = make_receipt(classify(photos["rocket"], MINI_VGG, store))
    change(receipt)
    verification = verify_receipt(receipt, open_photo(photos["rocket"]), store)
    assert not verification.holds
    assert any(words in finding for finding in verification.findings)


@pytest.mark.parametrize(
    "receipt",
    [None, [], 3, "text", {}, {"receipt": 2}, {"receipt": 1, "predictions": []}],
    ids=str,
)
def test_what_is_no_receipt(receipt, photos: dict[str, bytes], store: ModelStore) -> None:
    with pytest.raises(ReceiptError, match="not a receipt"):
        verify_receipt(receipt, open_photo(photos["cat"]), store)


def test_hostile_receipts(photos: dict[str, bytes], store: ModelStore) -> None:
    good = make_receipt(classify(photos["cat"], MINI_VGG, store))
    cat = open_photo(photos["cat"])
    assert verify_receipt(good | {"versions": {"keras": "2.0"}}, cat, store).holds
    answer = good["predictions"][0]
    for field, value in [
        ("predictions", [answer | {"probability": 10**400}]),
        ("predictions", [answer | {"probability": float("nan")}]),
        ("recipe", 5),
        ("versions", [1]),
        ("predictions", [{"wnid": "n0", "probability": "NaN"}]),
        ("predictions", [{"wnid": "n0", "probability": 0.1}] * 5000),
        ("predictions", "xyz"),
        ("weights", 7),
        ("resize", "melt"),
    ]:
        with pytest.raises(ReceiptError, match="not a receipt"):
            verify_receipt(good | {field: value}, cat, store)
