"""Everything that can go wrong for reasons a person can do something about.

    VggDemoError
    ├── ImageError                  the picture cannot be used
    │   ├── NotAnImageError         not a picture in a format that is read here
    │   ├── ImageTooLargeError      too many bytes or pixels
    │   ├── ImageTooSmallError      too few pixels to recognise anything
    │   └── ImageCorruptError       damaged or cut off
    ├── FileUnreadableError         a path that cannot be opened
    ├── FileUnwritableError         a path that cannot be written
    ├── NoPhotosError               a folder, archive or pattern without photos
    ├── ArchiveError                an archive that cannot be read to its end
    │   ├── ArchiveCorruptError     damaged, or not an archive
    │   └── ArchiveTooLargeError    too many files, or too much when unpacked
    ├── TableError                  a table of results or of true labels that cannot be used
    ├── DatasetError                photos that nothing can be learned from
    ├── BundleError                 a taught model that cannot be used
    ├── BusyError                   too much to do already
    ├── ClusterError                a Ray cluster that cannot be used
    ├── UnknownModelError           no model of that name
    ├── NoSuchPartError             a model that has no such part to build on
    ├── ModelError                  a model cannot be loaded
    │   ├── MemoryBudgetError       it does not fit into memory
    │   └── WeightsError            its weights cannot be had
    │       ├── WeightsMissingError     not on this machine, or not to be read
    │       ├── WeightsDownloadError    the download failed or brought the wrong bytes
    │       ├── DownloadingError        they are on their way
    │       ├── WeightsCorruptError     the file on this machine is damaged
    │       └── DiskFullError           no room for the download
    ├── ReceiptError                not a receipt that can be replayed
    └── SettingsError               a setting that says nothing sensible

Each message says the limit, what came, and what to do next. Programming mistakes stay
`ValueError` and `TypeError`.
"""

from __future__ import annotations

from collections.abc import Sequence


class VggDemoError(Exception):
    """Base of all errors that this package raises on purpose."""


class ImageError(VggDemoError):
    """The picture cannot be used."""


class NotAnImageError(ImageError):
    """The bytes are not a picture in a format that is read here."""


class ImageTooLargeError(ImageError):
    """The picture has too many bytes or too many pixels."""


class ImageTooSmallError(ImageError):
    """The picture has too few pixels to recognise anything."""


class ImageCorruptError(ImageError):
    """The picture is damaged or cut off."""


class FileUnreadableError(VggDemoError):
    """A path cannot be opened for reading."""


class FileUnwritableError(VggDemoError):
    """A path cannot be written."""


class NoPhotosError(VggDemoError):
    """A folder, an archive or a pattern holds no photos."""


class ArchiveError(VggDemoError):
    """An archive cannot be read to its end."""


class ArchiveCorruptError(ArchiveError):
    """The archive is damaged, or not an archive."""


class ArchiveTooLargeError(ArchiveError):
    """The archive holds too many files, or too much when unpacked."""


class TableError(VggDemoError):
    """A table of results or of true labels cannot be used."""


class DatasetError(VggDemoError):
    """Nothing can be learned from these photos."""


class BundleError(VggDemoError):
    """A bundle, in which a taught model is kept, is damaged or is none."""


class BusyError(VggDemoError):
    """There is too much to do already.

    Attributes:
        retry_seconds: After which it may be different.
    """

    def __init__(self, message: str, retry_seconds: float) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(message)


class ClusterError(VggDemoError):
    """A Ray cluster cannot be used, or Ray is not installed."""


class UnknownModelError(VggDemoError):
    """There is no model of that name.

    Attributes:
        name: What was asked for, cut to 60 letters.
        near: Names of models that are nearly so, the nearest first.
    """

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        self.name = name[:60]
        self.near = tuple(near)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        super().__init__(
            f"Unknown model {self.name!r}. {hint}All names: vgg-demo models, or GET /api/v1/models"
        )


class FeatureLayerError(VggDemoError):
    """A model has no such part that another could be built on."""


class ModelError(VggDemoError):
    """A model cannot be loaded."""


class MemoryBudgetError(ModelError):
    """A model does not fit into the memory that this program may use."""


class WeightsError(ModelError):
    """A model's weights cannot be had."""


class WeightsMissingError(WeightsError):
    """The weights are not on this machine and may not be downloaded, or cannot be read."""


class WeightsDownloadError(WeightsError):
    """The download failed or brought the wrong bytes."""


class DownloadingError(WeightsError):
    """The weights are on their way to this machine."""


class WeightsCorruptError(WeightsError):
    """The weights file on this machine is damaged."""


class DiskFullError(WeightsError):
    """The disk has no room for the download."""


class ReceiptError(VggDemoError):
    """The file is not a receipt that can be replayed."""


class SettingsError(VggDemoError):
    """A setting says nothing sensible."""
