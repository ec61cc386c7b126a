"""All errors that VGG Demo raises for problems that a user can fix.

    VggDemoError
    ├── ImageError                   an image cannot be used
    │   ├── NotAnImageError          not an image in a supported format
    │   ├── ImageTooLargeError       too many bytes or pixels
    │   ├── ImageTooSmallError       too few pixels
    │   └── ImageCorruptError        damaged or truncated
    ├── FileUnreadableError          a path cannot be read
    ├── FileUnwritableError          a path cannot be written
    ├── NoPhotosError                a folder, archive or pattern contains no photos
    ├── ArchiveError                 an archive cannot be read completely
    │   ├── ArchiveCorruptError      damaged, or not an archive
    │   └── ArchiveTooLargeError     too many files, or too large when unpacked
    ├── TableError                   a table of results or labels cannot be used
    ├── DatasetError                 a dataset cannot be used for training
    ├── BundleError                  a custom model's bundle cannot be used
    ├── BusyError                    too many requests or jobs at once
    ├── ClusterError                 a Ray cluster cannot be used
    ├── UnknownModelError            no model has this name
    ├── FeatureLayerError            a model lacks the requested feature layer
    ├── ModelError                   a model cannot be loaded
    │   ├── MemoryBudgetError        the model exceeds the memory budget
    │   └── WeightsError             the weights are unavailable
    │       ├── WeightsMissingError      not installed, or unreadable
    │       ├── WeightsDownloadError     the download failed or was rejected
    │       ├── DownloadingError         the download is in progress
    │       ├── WeightsCorruptError      the installed file is damaged
    │       └── DiskFullError            not enough disk space for the download
    ├── ReceiptError                 a receipt cannot be replayed
    └── SettingsError                a setting has an invalid value

Each message names the limit, the value received, and what to do next. Programming errors remain
`ValueError` and `TypeError`.
"""

from __future__ import annotations

from collections.abc import Sequence


class VggDemoError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ImageError(VggDemoError):
    """An image cannot be used."""


class NotAnImageError(ImageError):
    """The bytes are not an image in a supported format."""


class ImageTooLargeError(ImageError):
    """The image has too many bytes or too many pixels."""


class ImageTooSmallError(ImageError):
    """The image has too few pixels for classification."""


class ImageCorruptError(ImageError):
    """The image file is damaged or truncated."""


class FileUnreadableError(VggDemoError):
    """A path cannot be read."""


class FileUnwritableError(VggDemoError):
    """A path cannot be written."""


class NoPhotosError(VggDemoError):
    """A folder, archive or pattern contains no photos."""


class ArchiveError(VggDemoError):
    """An archive cannot be read completely."""


class ArchiveCorruptError(ArchiveError):
    """The archive is damaged, or the file is not an archive."""


class ArchiveTooLargeError(ArchiveError):
    """The archive contains too many files, or is too large when unpacked."""


class TableError(VggDemoError):
    """A table of results or labels cannot be used."""


class DatasetError(VggDemoError):
    """A dataset cannot be used for training."""


class BundleError(VggDemoError):
    """A bundle (the folder of a custom model) is damaged, or the folder is not a bundle."""


class BusyError(VggDemoError):
    """Too many requests or jobs are in progress.

    Attributes:
        retry_seconds: Seconds to wait before the next attempt.
    """

    def __init__(self, message: str, retry_seconds: float) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(message)


class ClusterError(VggDemoError):
    """A Ray cluster cannot be used, or Ray is not installed."""


class UnknownModelError(VggDemoError):
    """No model has this name.

    Attributes:
        name: The requested name, truncated to 60 characters.
        near: Names of similarly named models, best match first.
    """

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        self.name = name[:60]
        self.near = tuple(near)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        super().__init__(f"Unknown model {self.name!r}. {hint}List all models: vgg-demo models")


class FeatureLayerError(VggDemoError):
    """A model lacks the requested feature layer."""


class ModelError(VggDemoError):
    """A model cannot be loaded."""


class MemoryBudgetError(ModelError):
    """A model exceeds the memory budget."""


class WeightsError(ModelError):
    """The weights of a model are unavailable."""


class WeightsMissingError(WeightsError):
    """The weights are not installed and cannot be downloaded, or cannot be read."""


class WeightsDownloadError(WeightsError):
    """The download failed, or the downloaded file was rejected."""


class DownloadingError(WeightsError):
    """The weights are still being downloaded."""


class WeightsCorruptError(WeightsError):
    """The installed weight file is damaged."""


class DiskFullError(WeightsError):
    """The disk does not have enough space for the download."""


class ReceiptError(VggDemoError):
    """The file is not a receipt that can be replayed."""


class SettingsError(VggDemoError):
    """A setting has an invalid value."""
