"""Batch classification with the embedded model: rows in input order, with failures in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import vgg_demo.batch.pipeline
from vgg_demo.batch.pipeline import BatchRow, classify_photos, columns, flatten
from vgg_demo.errors import FileUnreadableError, WeightsMissingError
from vgg_demo.files.sources import Source
from vgg_demo.inference.classify import classify
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import get_spec

MINI_VGG = get_spec("mini_vgg")
MOBILENET = get_spec("mobilenet_v2")


def source(name: str, data: bytes) -> Source:
    return Source(name, lambda: data)


@pytest.fixture
def sources(photos: dict[str, bytes]) -> list[Source]:
    """Example photos and two invalid files: one at the start, one in between."""
    names = [*photos] * 3
    valid = [source(f"{index}-{name}", photos[name]) for index, name in enumerate(names)]
    bad = [source(f"bad-{number}", b"not an image") for number in range(2)]
    return [bad[0], *valid[:9], bad[1], *valid[9:]]


def test_rows_come_in_input_order(sources: list[Source], store: ModelStore) -> None:
    rows = list(classify_photos(sources, [MINI_VGG], store))
    assert [row.source for row in rows] == sources
    for row in rows:
        if row.source.name.startswith("bad"):
            assert (row.results, row.failure.error) == ((), "NotAnImageError")
            assert row.failure.file == row.source.name
        else:
            single = classify(row.source.read(), MINI_VGG, store, file=row.source.name)
            (result,) = row.results
            assert (result.file, result.sha256) == (single.file, single.sha256)
            assert np.allclose(result.probabilities, single.probabilities, atol=1e-6)


@pytest.mark.parametrize("name", ["mini_vgg", "mobilenet_v2"])
def test_probabilities_do_not_depend_on_the_other_photos_in_the_batch(
    name: str, photos: dict[str, bytes], shared_store: ModelStore
) -> None:
    """The probabilities are equal bit for bit in batches of different sizes."""
    spec = get_spec(name)
    sources = [source(photo, data) for photo, data in photos.items()] * 3

    def probabilities(sources: list[Source]) -> list[np.ndarray]:
        return [
            row.results[0].probabilities for row in classify_photos(sources, [spec], shared_store)
        ]

    all_at_once = probabilities(sources)
    for count in (1, 2, 3, 7):
        in_parts = [
            result
            for start in range(0, len(sources), count)
            for result in probabilities(sources[start : start + count])
        ]
        assert np.array_equal(in_parts, all_at_once)


def test_several_models_classify_each_photo(
    sources: list[Source], shared_store: ModelStore
) -> None:
    rows = list(classify_photos(sources, [MOBILENET, MINI_VGG], shared_store))
    assert [row.source for row in rows] == sources
    assert {tuple(result.model for result in row.results) for row in rows} == {
        (), ("mobilenet_v2", "mini_vgg"),
    }  # fmt: skip
    cat = next(row for row in rows if row.source.name.endswith("cat"))
    assert [result.predictions(1)[0].label for result in cat.results] == ["Egyptian cat", "cat"]


def test_unreadable_photo_becomes_a_failure_row(store: ModelStore) -> None:
    def fail() -> bytes:
        raise FileUnreadableError("Cannot read it.")

    (row,) = classify_photos([Source("unreadable.jpg", fail)], [MINI_VGG], store)
    assert (row.failure.error, row.failure.message) == ("FileUnreadableError", "Cannot read it.")


def test_no_photos_give_no_rows(store: ModelStore) -> None:
    assert list(classify_photos([], [MINI_VGG], store)) == []
    with pytest.raises(ValueError, match="at least one model"):
        next(classify_photos([], [], store))


def test_missing_weights_raise_an_error(photos: dict[str, bytes], store: ModelStore) -> None:
    with pytest.raises(WeightsMissingError):
        list(classify_photos([source("cat", photos["cat"])], [MOBILENET], store))


def test_photos_are_read_only_as_needed(photos: dict[str, bytes], store: ModelStore) -> None:
    """Ten million photos would not fit into memory, and closing the iterator stops reading."""
    numbers_read: list[int] = []

    def endless() -> Iterator[Source]:
        number = 0
        while True:
            yield Source(str(number), partial(read_photo, number))
            number += 1

    def read_photo(number: int) -> bytes:
        numbers_read.append(number)
        return photos["cat"]

    rows = classify_photos(endless(), [MINI_VGG], store)
    for _ in range(20):
        next(rows)
    rows.close()
    for thread in threading.enumerate():
        if thread.name.startswith("decode"):
            thread.join(60)
    assert max(numbers_read) < 20 + 3 * vgg_demo.batch.pipeline.CHUNK_SIZE


def test_few_photos_of_a_sequential_archive_are_buffered(
    photos: dict[str, bytes], store: ModelStore
) -> None:
    """Such photos are in memory; at 10 MB each, fewer than ten are read ahead."""
    yielded: list[int] = []

    def large_photos() -> Iterator[Source]:
        for number in range(60):
            yielded.append(number)
            yield Source(str(number), lambda: photos["cat"], buffered_bytes=10_000_000)

    models = [MINI_VGG, replace(MINI_VGG, name="mini_vgg")]
    rows = classify_photos(large_photos(), models, store)
    next(rows)
    assert len(yielded) < 10
    rows.close()


def test_models_with_large_input_get_smaller_chunks() -> None:
    large = replace(MOBILENET, input_size=2000)
    assert vgg_demo.batch.pipeline._chunk_size([large]) == 1
    assert vgg_demo.batch.pipeline._chunk_size([MOBILENET]) == vgg_demo.batch.pipeline.CHUNK_SIZE


def test_flat_rows_of_results_and_failures_have_the_same_columns(
    photos: dict[str, bytes], store: ModelStore
) -> None:
    sources = [source("cat.jpg", photos["cat"]), source("b\udcff.jpg", b"x")]
    rows: list[BatchRow] = list(classify_photos(sources, [MINI_VGG], store))
    (good,), (bad,) = (flatten(row, [MINI_VGG], top=2) for row in rows)
    assert tuple(good) == tuple(bad) == columns(2)
    assert (good["file"], good["label_1"], good["wnid_1"]) == ("cat.jpg", "cat", "n02121620")
    assert good["probability_1"] + good["probability_2"] <= 1
    assert (good["sure"], good["verified"], good["error"]) == (True, True, None)
    assert (bad["file"], bad["model"], bad["error"]) == (
        "b\\udcff.jpg",
        "mini_vgg",
        "NotAnImageError",
    )
    assert bad["label_1"] is bad["sure"] is bad["sha256"] is None


def test_columns_beyond_the_number_of_classes_are_empty(
    photos: dict[str, bytes], store: ModelStore
) -> None:
    (row,) = classify_photos([source("cat.jpg", photos["cat"])], [MINI_VGG], store)
    (flat,) = flatten(row, [MINI_VGG], top=12)
    assert flat["label_10"] is not None
    assert flat["label_11"] is flat["probability_12"] is None
