"""Messages of the camera component."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from vgg_demo.ui.components.camera import (
    MAX_PHOTO_BYTES,
    MAX_PHOTOS,
    LastReceived,
    Shot,
    read_shots,
)

NOTHING_RECEIVED = LastReceived()


def encode_photo(number: object, data: bytes = b"photo", burst: object = 1) -> dict[str, Any]:
    return {"id": number, "burst": burst, "jpeg": base64.b64encode(data).decode()}


def test_resent_photos_are_received_once() -> None:
    first = [encode_photo(1, b"a"), encode_photo(2, b"b")]
    received, shots = read_shots(first, NOTHING_RECEIVED)
    assert (received, shots) == (LastReceived(2, 1), [Shot(1, b"a"), Shot(1, b"b")])
    resent = [*first, encode_photo(3, b"c", burst=2), encode_photo(3, b"d", burst=2)]
    assert read_shots(resent, received) == (LastReceived(3, 2), [Shot(2, b"c")])


@pytest.mark.parametrize(
    "message",
    [
        None,
        "photos",
        encode_photo(1),
        [None, 1, [], {}],
        [
            encode_photo("1"),
            encode_photo(None),
            {"id": 1},
            {"id": 1, "burst": 1, "jpeg": 1},
            encode_photo(1, burst="1"),
        ],
        [encode_photo(0), encode_photo(-1)],
    ],
)
def test_malformed_message_is_ignored(message: Any) -> None:
    assert read_shots(message, NOTHING_RECEIVED) == (NOTHING_RECEIVED, [])


@pytest.mark.parametrize(
    "jpeg", ["", "no Base64", "äöü", base64.b64encode(b"0" * (MAX_PHOTO_BYTES + 9)).decode()]
)
def test_invalid_photo_is_confirmed_so_that_it_is_not_resent(jpeg: str) -> None:
    message = [{"id": 1, "burst": 1, "jpeg": jpeg}, encode_photo(2)]
    assert read_shots(message, NOTHING_RECEIVED) == (LastReceived(2, 1), [Shot(1, b"photo")])


def test_photos_beyond_the_limit_of_a_message_are_read_when_resent() -> None:
    message = [encode_photo(number) for number in range(1, 3 * MAX_PHOTOS + 1)]
    received, shots = read_shots(message, NOTHING_RECEIVED)
    assert (received.id, len(shots)) == (MAX_PHOTOS, MAX_PHOTOS)
    assert read_shots(message, received)[0].id == 2 * MAX_PHOTOS
