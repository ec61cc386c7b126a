"""Maximum sizes of images, archives and API requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Maximum size of an image.

    Attributes:
        size_bytes: Maximum file size in bytes.
        pixels: Maximum width times height.
    """

    size_bytes: int = 20 * 2**20
    pixels: int = 50_000_000


DEFAULT_LIMITS = ImageLimits()

MAX_API_MODELS = 5
"""Maximum number of models in one comparison through the API."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Maximum contents of an archive.

    Attributes:
        members: Maximum number of files and folders.
        size_bytes: Maximum total size when unpacked, in bytes.
    """

    members: int = 200_000
    size_bytes: int = 100 * 10**9
