"""Image files stripped of metadata: only the data of the first image reaches Pillow.

An image file is a container. Besides pixels, it holds EXIF, XMP, color profiles, comments,
thumbnails and further frames. This package needs the first image and its orientation.
`strip_metadata` reads the orientation and copies only the parts that decoding needs. In most
malicious files, the metadata is what takes gigabytes or minutes to read; it never reaches Pillow.
Pixel data can be malicious as well; this package defines limits for it, each with its reason.

All functions work on bytes and read each byte a bounded number of times. Invalid data is left
for Pillow to reject. Each module follows the specification of its format:

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

__all__ = ["StrippedImage", "exif_orientation", "strip_metadata", "tiff_pixels"]


def strip_metadata(data: bytes) -> StrippedImage:
    """Copies the data of the first image without metadata and reads its orientation.

    Args:
        data: Bytes of a file of any format; formats without metadata are returned unchanged.

    Raises:
        ImageTooLargeError: If decoding would cost far more than the size of the image justifies.
        ImageCorruptError: If the directory of a TIFF, HEIC or AVIF file cannot be read.
    """
    for offset, magic, strip in (
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
            return strip(data)
    return StrippedImage(data)
