"""Local weight files: finding and verifying them."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from vgg_demo.errors import WeightsMissingError
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import check_weights_dir, find_weights, inspect_weights

SPEC = get_spec("vgg16")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache")


def test_configured_folder_takes_precedence_over_the_cache(
    settings: Settings, tmp_path: Path
) -> None:
    configured, cached = tmp_path / "mine", settings.cache_dir / SPEC.weights.name
    for folder in (configured, settings.cache_dir):
        folder.mkdir()
        (folder / SPEC.weights.name).touch()
    assert find_weights(SPEC, settings) == cached
    with_folder = dataclasses.replace(settings, weights_dir=configured)
    assert find_weights(SPEC, with_folder) == configured / SPEC.weights.name
    (configured / SPEC.weights.name).unlink()
    assert find_weights(SPEC, with_folder) == cached


def test_manually_installed_file_is_used_but_unverified(settings: Settings) -> None:
    settings.cache_dir.mkdir()
    (settings.cache_dir / SPEC.weights.name).write_bytes(b"mine")
    weights = inspect_weights(find_weights(SPEC, settings), SPEC)
    assert not weights.verified
    assert weights.sha256 == hashlib.sha256(b"mine").hexdigest()


def test_embedded_model_is_verified(settings: Settings) -> None:
    spec = get_spec("mini_vgg")
    weights = inspect_weights(find_weights(spec, settings), spec)
    assert weights.verified
    assert find_weights(spec, settings).stat().st_size == spec.weights.size_bytes <= 4_000_000


@pytest.mark.parametrize("folder", ["missing", "file", 300 * "long", "with\0nul"])
def test_unreadable_weights_folder_raises_an_error(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(weights_dir=tmp_path / folder)
    with pytest.raises(WeightsMissingError, match=r"weights folder .* Check --weights-dir"):
        check_weights_dir(settings)
    assert find_weights(SPEC, settings) is None


@pytest.mark.parametrize("value", ["~nobody-of-that-name", "/" + 300 * "x"])
def test_invalid_weights_folder_raises_an_error(value: str) -> None:
    settings = Settings.from_environment({}, weights_dir=value)
    with pytest.raises(WeightsMissingError, match=f"weights folder {value} .* Check --weights-dir"):
        check_weights_dir(settings)
    assert find_weights(SPEC, settings) is None
