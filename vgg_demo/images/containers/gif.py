"""GIF: GIF89a, sections 15 to 27 (blocks)."""

from __future__ import annotations

import re

from vgg_demo.images.containers.stripped import StrippedImage, check_blocks

_BLOCK = re.compile(rb"[!,;]")  # extension, image, trailer


def strip_gif(data: bytes) -> StrippedImage:
    """Strips a GIF; see `containers.strip_metadata`."""
    header = data[:13]
    if len(header) == 13 and header[10] & 0x80:
        header = data[: 13 + (6 << (header[10] & 7))]  # includes the color table
    control = b""
    blocks = 0
    match = _BLOCK.search(data, len(header))
    while match:
        position = match.start()
        if match[0] == b",":
            return StrippedImage(header + control + data[position:])
        if match[0] == b";":
            break
        if data[position + 1 : position + 3] == b"\xf9\x04" and position + 8 <= len(data):
            # Keep only the transparent color. The disposal method, for which Pillow would
            # allocate an image, and the delay apply to the next frame.
            transparent = bytes([data[position + 3] & 1, 0, 0, data[position + 6]])
            control = b"!\xf9\x04" + transparent + b"\0"
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            blocks += 1
            check_blocks(blocks)
        blocks += 1
        check_blocks(blocks)
        match = _BLOCK.search(data, position + 1)
    return StrippedImage(header + b";")
