"""Settings from the environment: read once at the entry points and passed to everything else."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vgg_demo import memory
from vgg_demo.errors import SettingsError
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits

MEMORY_FRACTION = 0.6
"""Default memory budget as a fraction of the memory limit; the rest is for photos and peaks."""


def default_memory_bytes() -> int:
    """Returns `MEMORY_FRACTION` of the memory limit of this process, in bytes."""
    return int(MEMORY_FRACTION * memory.allowed_bytes())


def keras_home() -> Path:
    """Returns the default folder of Keras: ``~/.keras``.

    Like Keras, this uses the folder for temporary files if there is no home folder, for example
    in a container that runs under a user ID without a user name.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    return home / ".keras"


def expand_user(path: str) -> Path:
    """Expands ``~`` to the home folder; keeps the path unchanged if there is no home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


class TrainingAccess(StrEnum):
    """Who can train custom models on the page, and who can publish them."""

    ON = "on"
    """Every visitor can train custom models and publish them."""

    LOCAL = "local"
    """Every visitor can train custom models; only visitors on the same machine can publish."""

    PRIVATE = "private"
    """Every visitor can train custom models for their own use while the server runs, but not
    publish them."""

    OFF = "off"
    """Training is disabled."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the page, the API and the command line.

    Fields that can be set by an environment variable describe it in their metadata: ``variable``,
    ``help`` (one or two sentences) and ``default`` (the default as text).

    Attributes:
        weights_dir: Folder that is searched first for weight files; None to search only the cache.
        cache_dir: Folder for weight files that is shared with Keras: searched second, and the
            destination of downloads.
        offline: Whether downloads are disabled.
        response_timeout_seconds: Maximum time from the start of a download request to the
            response headers.
        stall_timeout_seconds: Maximum time that a download may make (nearly) no progress.
        limits: Maximum size of an image.
        memory_bytes: Memory budget of the process, including loaded models, in bytes.
        chosen_bundles_dir: Folder of published custom models; None for the default folder.
        training_access: Who can train and publish custom models on the page.
    """

    weights_dir: Path | None = field(
        default=None,
        metadata={
            "variable": "VGG_DEMO_WEIGHTS_DIR",
            "help": "Folder of weight files that is searched first.",
            "default": "not set",
        },
    )
    cache_dir: Path = field(
        default_factory=lambda: keras_home() / "models",
        metadata={
            "variable": "KERAS_HOME",
            "help": "Keras folder; weight files are downloaded to its subfolder `models`.",
            "default": "~/.keras",
        },
    )
    offline: bool = field(
        default=False,
        metadata={
            "variable": "VGG_DEMO_OFFLINE",
            "help": "Any value except 0 disables downloads.",
            "default": "0",
        },
    )
    response_timeout_seconds: float = 5.0
    stall_timeout_seconds: float = 30.0
    limits: ImageLimits = DEFAULT_LIMITS
    memory_bytes: int = field(
        default_factory=default_memory_bytes,
        metadata={
            "variable": "VGG_DEMO_MEMORY_MB",
            "help": (
                "Memory budget of the process in megabytes (1 MB = 1,000,000 bytes). Models that "
                "were not used recently are unloaded to stay within it."
            ),
            "default": f"{MEMORY_FRACTION:.0%} of the memory of the machine or container",
        },
    )
    chosen_bundles_dir: Path | None = field(
        default=None,
        metadata={
            "variable": "VGG_DEMO_BUNDLES_DIR",
            "help": "Folder of the custom models that are published to all visitors.",
            "default": "`vgg_demo/bundles` in `KERAS_HOME`",
        },
    )
    training_access: TrainingAccess = field(
        default=TrainingAccess.LOCAL,
        metadata={
            "variable": "VGG_DEMO_TRAIN",
            "help": (
                "Who can train and publish custom models on the page: on (everyone can do both), "
                "local (only visitors on the same machine can publish), private (no publishing) "
                "or off (no training)."
            ),
            "default": TrainingAccess.LOCAL.value,
        },
    )

    @property
    def bundles_dir(self) -> Path:
        """Folder of the published custom models, one folder for each."""
        return self.chosen_bundles_dir or self.cache_dir.parent / "vgg_demo" / "bundles"

    @property
    def features_file(self) -> Path:
        """SQLite database that caches the features extracted for training."""
        return self.cache_dir.parent / "vgg_demo" / "features.sqlite"

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], weights_dir: str | None = None
    ) -> Settings:
        """Reads the settings from environment variables.

        Args:
            environment: The environment. Reads ``VGG_DEMO_WEIGHTS_DIR``, ``VGG_DEMO_OFFLINE``
                (true unless empty or 0), ``VGG_DEMO_MEMORY_MB`` (1 MB = 1,000,000 bytes),
                ``VGG_DEMO_BUNDLES_DIR``, ``VGG_DEMO_TRAIN``, and Keras's own ``KERAS_HOME``.
            weights_dir: Overrides ``VGG_DEMO_WEIGHTS_DIR``.

        Raises:
            SettingsError: If ``VGG_DEMO_MEMORY_MB`` is not a whole number, or
                ``VGG_DEMO_TRAIN`` is not a value of `TrainingAccess`.
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


def _read_training_access(value: str) -> TrainingAccess:
    try:
        return TrainingAccess(value or TrainingAccess.LOCAL)
    except ValueError:
        raise SettingsError(
            f"VGG_DEMO_TRAIN is {value[:60]!r}; it must be one of {', '.join(TrainingAccess)}."
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
