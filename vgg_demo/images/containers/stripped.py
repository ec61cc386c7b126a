"""What every walk returns, and the limit that several share."""

from __future__ import annotations

from typing import NamedTuple

from vgg_demo.errors import ImageTooLargeError

BLOCKS = 100_000
"""Chunks of a PNG or WebP, or blocks before the picture of a GIF. Each costs a step of this
walk. Encoders fill their blocks: 20 MB are 80,000 full blocks of a GIF (255 bytes), or 2,500
chunks of a PNG as libpng writes them (8 kB)."""


class StrippedImage(NamedTuple):
    """The parts of a file that its first picture needs.

    Attributes:
        data: A file of the same format.
        orientation: Of the stored pixels, 1 to 8, as EXIF counts; 1 is upright.
    """

    data: bytes
    orientation: int = 1


def check_blocks(count: int) -> None:
    """Refuses a file of too many blocks.

    Raises:
        ImageTooLargeError: If there are more than `BLOCKS`.
    """
    if count > BLOCKS:
        raise ImageTooLargeError(
            f"The file is cut into more than {BLOCKS:,} blocks, the limit here. "
            "Open it in a photo program and save it again, then try again."
        )
