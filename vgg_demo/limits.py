"""What a picture and an archive may be at most."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a picture may be at most.

    Attributes:
        size_bytes: Bytes of the file.
        pixels: Width times height.
    """

    size_bytes: int = 20 * 2**20
    pixels: int = 50_000_000


DEFAULT_LIMITS = ImageLimits()


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold at most.

    Attributes:
        members: Files and folders in it.
        size_bytes: All of it together, unpacked.
    """

    members: int = 200_000
    size_bytes: int = 100 * 10**9
