"""What a browser sends from the camera, and what becomes of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from vgg_demo.ui.components.camera import MAX_PHOTO_BYTES, MAX_PHOTOS, Received, Shot, read_shots

NOTHING = Received()


def sent(number: object, data: bytes = b"photo", row: object = 1) -> dict[str, Any]:
    return {"id": number, "row": row, "jpeg": base64.b64encode(data).decode()}


def test_photos_that_come_again_are_taken_once() -> None:
    first = [sent(1, b"a"), sent(2, b"b")]
    received, shots = read_shots(first, NOTHING)
    assert (received, shots) == (Received(2, 1), [Shot(1, b"a"), Shot(1, b"b")])
    again = [*first, sent(3, b"c", row=2), sent(3, b"d", row=2)]
    assert read_shots(again, received) == (Received(3, 2), [Shot(2, b"c")])


@pytest.mark.parametrize(
    "message",
    [
        None,
        "photos",
        sent(1),
        [None, 1, [], {}],
        [sent("1"), sent(None), {"id": 1}, {"id": 1, "row": 1, "jpeg": 1}, sent(1, row="1")],
        [sent(0), sent(-1)],
    ],
)
def test_what_is_no_message_is_passed_over(message: Any) -> None:
    assert read_shots(message, NOTHING) == (NOTHING, [])


@pytest.mark.parametrize(
    "jpeg", ["", "no Base64", "äöü", base64.b64encode(b"0" * (MAX_PHOTO_BYTES + 9)).decode()]
)
def test_what_is_no_photo_is_not_sent_for_ever(jpeg: str) -> None:
    message = [{"id": 1, "row": 1, "jpeg": jpeg}, sent(2)]
    assert read_shots(message, NOTHING) == (Received(2, 1), [Shot(1, b"photo")])


def test_of_a_message_of_very_many_photos_the_rest_comes_again() -> None:
    message = [sent(number) for number in range(1, 3 * MAX_PHOTOS + 1)]
    received, shots = read_shots(message, NOTHING)
    assert (received.id, len(shots)) == (MAX_PHOTOS, MAX_PHOTOS)
    assert read_shots(message, received)[0].id == 2 * MAX_PHOTOS
