"""Two models with their real weights on 500 photos: how often and on what they agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vgg_demo.analysis.agreement import distances, find_consensus
from vgg_demo.analysis.verdict import interpret
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.labels import ancestors
from vgg_demo.models.registry import get_spec

NAMES = ("mobilenet_v2", "mobilenet_v3_small")


@pytest.mark.slow
def test_two_models_on_500_photos(shared: Path, shared_store: ModelStore) -> None:
    """Read one by one on 2026-11-21: 386 times the same, else mostly of one kind."""
    apart: dict[bool, list[float]] = {True: [], False: []}
    found_in_common = 0
    for path in sorted((shared / "data" / "imagenet-sample").glob("*.jpg")):
        photo = open_photo(path.read_bytes(), file=path.name)
        results = [classify_photo(photo, get_spec(name), shared_store) for name in NAMES]
        first, second = (result.predictions(1)[0].wnid for result in results)
        apart[first == second].append(float(distances(results)[0, 1]))
        winners = [interpret(result).winner.wnid for result in results]
        for consensus in find_consensus(results):
            assert all(consensus.wnid in ancestors(winner) for winner in winners)
            found_in_common += first != second
    assert len(apart[True]) + len(apart[False]) == 500
    assert abs(len(apart[True]) - 386) <= 3  # processors add in different orders
    assert np.median(apart[True]) < 0.3
    assert np.median(apart[False]) > 0.5
    assert found_in_common > 0.9 * len(apart[False])
