"""Pictures without their luggage: what Pillow is given of a stranger's file.

A picture file is a container: pixels, and beside them EXIF, XMP, colour profiles,
comments, thumbnails, further frames. This program needs the first picture and which way
up it is. `unpack` reads the orientation and copies only the parts that the pixels need,
so the luggage, where most hostile files hide their cost, never reaches Pillow. What the
pixels need can be excessive too; the limits for that are here as well, each with its why.

Everything works on bytes and reads each of them a bounded number of times. Bytes that make
no sense are left to Pillow to judge. The walks follow

* JPEG: ITU-T T.81, annex B (markers);
* PNG: W3C PNG, 3rd edition, section 5 (chunks);
* GIF: GIF89a, sections 15 to 27 (blocks);
* WebP: RFC 9649, section 2 (RIFF chunks);
* TIFF: TIFF 6.0, section 2 (directories), and BigTIFF; also the layout of EXIF;
* HEIC and AVIF: ISO/IEC 14496-12 (boxes), 23008-12 (items), AV1, section 5 (OBUs).
"""

from __future__ import annotations

from vgg_demo.images.containers.gif import unpack_gif
from vgg_demo.images.containers.heif import unpack_heif
from vgg_demo.images.containers.jpeg import unpack_jpeg
from vgg_demo.images.containers.png import unpack_png
from vgg_demo.images.containers.stripped import Unpacked
from vgg_demo.images.containers.tiff import tiff_pixels, unpack_tiff
from vgg_demo.images.containers.webp import unpack_webp
from vgg_demo.images.orientation import exif_orientation

__all__ = ["Unpacked", "exif_orientation", "tiff_pixels", "unpack"]


def unpack(data: bytes) -> Unpacked:
    """Copies what the first picture needs and reads which way up it is.

    Args:
        data: A file's bytes, of any kind; formats without luggage are returned as they are.

    Raises:
        ImageTooLargeError: If decoding would cost far more than the picture's size explains.
        ImageCorruptError: If the directory of a TIFF or AVIF cannot be read.
    """
    for offset, magic, walk in (
        (0, b"\xff\xd8\xff", unpack_jpeg),
        (0, b"\x89PNG\r\n\x1a\n", unpack_png),
        (0, b"GIF8", unpack_gif),
        (8, b"WEBP", unpack_webp),
        (0, b"II*\0", unpack_tiff),
        (0, b"II+\0", unpack_tiff),  # BigTIFF
        (0, b"MM\0*", unpack_tiff),
        (0, b"MM\0+", unpack_tiff),
        (4, b"ftyp", unpack_heif),
    ):
        if data.startswith(magic, offset):
            return walk(data)
    return Unpacked(data)
