"""The result of stripping a file, and the limit on blocks that several formats share."""

from __future__ import annotations

from typing import NamedTuple

from vgg_demo.errors import ImageTooLargeError

MAX_BLOCKS = 100_000
"""Maximum number of chunks of a PNG or WebP, or of blocks before the image of a GIF. Each costs an
iteration in Python. Encoders fill their blocks: 20 MB are 80,000 full blocks of a GIF (255 bytes),
or 2,500 chunks of a PNG as written by libpng (8 kB)."""


class StrippedImage(NamedTuple):
    """An image file reduced to the parts that its first image needs.

    Attributes:
        data: Bytes of a file of the same format.
        orientation: EXIF orientation of the stored pixels, 1 to 8; 1 is upright.
    """

    data: bytes
    orientation: int = 1


def check_blocks(count: int) -> None:
    """Rejects a file with too many blocks.

    Raises:
        ImageTooLargeError: If `count` exceeds `MAX_BLOCKS`.
    """
    if count > MAX_BLOCKS:
        raise ImageTooLargeError(
            f"The file consists of more than {MAX_BLOCKS:,} blocks, which is the limit. "
            "Open it in an image editor and save it again, then try again."
        )
