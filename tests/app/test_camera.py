"""What a browser sends from the camera, and what becomes of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from vgg_demo.ui.camera import MOST_PHOTO_BYTES, MOST_PHOTOS, read_photos
from vgg_demo.ui.teach_kinds import Given, Kind, take_shots


def sent(number: object, data: bytes = b"photo") -> dict[str, Any]:
    return {"id": number, "jpeg": base64.b64encode(data).decode()}


def test_photos_that_come_again_are_taken_once() -> None:
    first = [sent(1, b"a"), sent(2, b"b")]
    assert read_photos(first, 0) == (2, [b"a", b"b"])
    assert read_photos([*first, sent(3, b"c")], 2) == (3, [b"c"])
    assert read_photos([sent(1), sent(1), sent(1)], 0) == (1, [b"photo"])


@pytest.mark.parametrize(
    "message",
    [
        None,
        "photos",
        {"id": 1, "jpeg": ""},
        [None, 1, [], {}],
        [sent("1"), sent(None), {"id": 1}, {"id": 1, "jpeg": 1}],
        [{"id": 1, "jpeg": "no Base64"}],
        [{"id": 1, "jpeg": "äöü"}],
        [sent(1, b"0" * (MOST_PHOTO_BYTES + 9))],
        [sent(0), sent(-1)],
    ],
)
def test_what_is_no_photo_is_passed_over(message: Any) -> None:
    assert read_photos(message, 0) == (0, [])


def test_a_message_of_very_many_photos() -> None:
    _, photos = read_photos([sent(number) for number in range(1, 10 * MOST_PHOTOS)], 0)
    assert len(photos) == MOST_PHOTOS


def test_what_was_taken_in_one_go_stays_together() -> None:
    kind = Kind(7, "mug", [Given("mine.jpg", b"m")])
    take_shots(kind, [kind, Kind(8, "other")], [b"a"] * 12)
    assert [photo.group for photo in kind.photos[:1]] == [""]
    groups = [photo.group for photo in kind.photos[1:]]
    assert groups == sorted(groups)
    assert sorted({groups.count(group) for group in groups})[-1] == 5
    assert len({photo.name for photo in kind.photos}) == 13
