"""What can be set from outside, read once at the door and passed in from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vgg_demo.images import DEFAULT_LIMITS, ImageLimits


@dataclass(frozen=True, slots=True)
class Settings:
    """Where weights are and what is allowed.

    Attributes:
        weights_dir: Folder searched first for weight files; None for none.
        cache_dir: Folder that Keras and this program share: searched second, and where
            downloads go.
        offline: Never try to download.
        answer_seconds: How long a download server may take to answer at all.
        stall_seconds: How long a download may stand still before it counts as failed.
        limits: What a picture may be at most.
    """

    weights_dir: Path | None = None
    cache_dir: Path = field(default_factory=lambda: Path.home() / ".keras" / "models")
    offline: bool = False
    answer_seconds: float = 5.0
    stall_seconds: float = 30.0
    limits: ImageLimits = DEFAULT_LIMITS

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], weights_dir: str | None = None
    ) -> Settings:
        """Reads the settings.

        Args:
            environment: ``VGG_DEMO_WEIGHTS_DIR``, ``VGG_DEMO_OFFLINE`` (anything but
                empty and 0 means yes) and Keras's own ``KERAS_HOME`` are read.
            weights_dir: Goes before ``VGG_DEMO_WEIGHTS_DIR``.
        """
        chosen = weights_dir or environment.get("VGG_DEMO_WEIGHTS_DIR", "")
        keras_home = environment.get("KERAS_HOME", "")
        return cls(
            weights_dir=Path(chosen).expanduser() if chosen else None,
            cache_dir=(Path(keras_home) if keras_home else Path.home() / ".keras") / "models",
            offline=environment.get("VGG_DEMO_OFFLINE", "") not in ("", "0"),
        )
