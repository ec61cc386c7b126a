"""What can be set from outside, read once at the door and passed in from there."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vgg_demo import memory
from vgg_demo.errors import SettingsError
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits

MEMORY_SHARE = 0.6
"""Part of the allowed memory that is used; the rest is for photos and for the peaks of work."""


def default_memory_bytes() -> int:
    """Returns `MEMORY_SHARE` of what the process may use."""
    return int(MEMORY_SHARE * memory.allowed_bytes())


def keras_home() -> Path:
    """Returns Keras's own folder; like Keras, one for temporary files if there is no home.

    A container that runs under a number without a name has none.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    return home / ".keras"


def expand_user(path: str) -> Path:
    """Puts the home folder in the place of a ~; a ~ that has none stays what it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


class TrainingAccess(StrEnum):
    """What visitors of the page may teach."""

    ON = "on"
    """Models of their own, which they may keep on the server for everybody."""

    LOCAL = "local"
    """The same, but only who sits at this very machine may keep any."""

    PRIVATE = "private"
    """Models of their own, for themselves, as long as the server runs."""

    OFF = "off"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where weights are and what is allowed.

    Attributes:
        weights_dir: Folder searched first for weight files; None for none.
        cache_dir: Folder that Keras and this program share: searched second, and where
            downloads go.
        offline: Never try to download.
        answer_seconds: How long a download server may take to answer at all.
        stall_seconds: How long a download may stand still, or nearly so, before it
            counts as failed.
        limits: What a picture may be at most.
        memory_bytes: What the process may hold, with the models in it.
        chosen_bundles_dir: Folder of taught models; None for the usual one.
        training_access: What visitors of the page may teach.
    """

    weights_dir: Path | None = None
    cache_dir: Path = field(default_factory=lambda: keras_home() / "models")
    offline: bool = False
    answer_seconds: float = 5.0
    stall_seconds: float = 30.0
    limits: ImageLimits = DEFAULT_LIMITS
    memory_bytes: int = field(default_factory=default_memory_bytes)
    chosen_bundles_dir: Path | None = None
    training_access: TrainingAccess = TrainingAccess.LOCAL

    @property
    def bundles_dir(self) -> Path:
        """Folder of the taught models that everybody may use, each a folder in it."""
        return self.chosen_bundles_dir or self.cache_dir.parent / "vgg_demo" / "bundles"

    @property
    def features_file(self) -> Path:
        """Where what networks made of photos is kept for teaching."""
        return self.cache_dir.parent / "vgg_demo" / "features.sqlite"

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], weights_dir: str | None = None
    ) -> Settings:
        """Reads the settings.

        Args:
            environment: ``VGG_DEMO_WEIGHTS_DIR``, ``VGG_DEMO_OFFLINE`` (anything but
                empty and 0 means yes), ``VGG_DEMO_MEMORY_MB`` (megabytes of a million bytes),
                ``VGG_DEMO_BUNDLES_DIR``, ``VGG_DEMO_TRAIN`` and Keras's own ``KERAS_HOME`` are
                read.
            weights_dir: Goes before ``VGG_DEMO_WEIGHTS_DIR``.

        Raises:
            SettingsError: If the memory is no number, or there is no such way of teaching.
        """
        chosen = weights_dir or environment.get("VGG_DEMO_WEIGHTS_DIR", "")
        chosen_home = environment.get("KERAS_HOME", "")
        bundles = environment.get("VGG_DEMO_BUNDLES_DIR", "")
        return cls(
            weights_dir=expand_user(chosen) if chosen else None,
            cache_dir=(Path(chosen_home) if chosen_home else keras_home()) / "models",
            offline=environment.get("VGG_DEMO_OFFLINE", "") not in ("", "0"),
            memory_bytes=_read_memory(environment.get("VGG_DEMO_MEMORY_MB", "")),
            chosen_bundles_dir=expand_user(bundles) if bundles else None,
            training_access=_read_training_access(environment.get("VGG_DEMO_TRAIN", "")),
        )


def _read_training_access(word: str) -> TrainingAccess:
    try:
        return TrainingAccess(word or TrainingAccess.LOCAL)
    except ValueError:
        raise SettingsError(
            f"VGG_DEMO_TRAIN is {word[:60]!r}; it must be one of {', '.join(TrainingAccess)}."
        ) from None


def _read_memory(megabytes: str) -> int:
    if not megabytes:
        return default_memory_bytes()
    if not (megabytes.isascii() and megabytes.isdecimal() and len(megabytes) < 10):
        raise SettingsError(
            f"VGG_DEMO_MEMORY_MB is {megabytes[:60]!r}; it must be a whole number of megabytes, "
            "such as 1600."
        )
    return 1_000_000 * int(megabytes)
