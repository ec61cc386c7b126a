"""Pictures without their luggage: what Pillow is given of a stranger's file.

A picture file is a container: pixels, and beside them EXIF, XMP, colour profiles,
comments, thumbnails, further frames. This program needs the first picture and which way
up it is. `strip_metadata` reads the orientation and copies only the parts that the pixels need,
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

from vgg_demo.images.containers.gif import strip_gif
from vgg_demo.images.containers.heif import strip_heif
from vgg_demo.images.containers.jpeg import strip_jpeg
from vgg_demo.images.containers.png import strip_png
from vgg_demo.images.containers.stripped import StrippedImage
from vgg_demo.images.containers.tiff import strip_tiff, tiff_pixels
from vgg_demo.images.containers.webp import strip_webp
from vgg_demo.images.orientation import exif_orientation

__all__ = ["Unpacked", "exif_orientation", "tiff_pixels", "unpack"]


def strip_metadata(data: bytes) -> StrippedImage:
    """Copies what the first picture needs and reads which way up it is.

    Args:
        data: A file's bytes, of any kind; formats without luggage are returned as they are.

    Raises:
        ImageTooLargeError: If decoding would cost far more than the picture's size explains.
        ImageCorruptError: If the directory of a TIFF or AVIF cannot be read.
    """
    for offset, magic, walk in (
        (0, b"\xff\xd8\xff", strip_jpeg),
        (0, b"\x89PNG\r\n\x1a\n", strip_png),
        (0, b"GIF8", strip_gif),
        (8, b"WEBP", strip_webp),
        (0, b"II*\0", strip_tiff),
        (0, b"II+\0", strip_tiff),  # BigTIFF
        (0, b"MM\0*", strip_tiff),
        (0, b"MM\0+", strip_tiff),
        (4, b"ftyp", strip_heif),
    ):
        if data.startswith(magic, offset):
            return walk(data)
    return StrippedImage(data)
