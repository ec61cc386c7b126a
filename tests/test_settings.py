"""Settings from environment variables."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from vgg_demo.settings import Settings


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Path.home() / ".keras" / "models"),
        ({"KERAS_HOME": "/somewhere"}, Path("/somewhere/models")),
    ],
)
def test_cache_is_shared_with_keras(environment: dict[str, str], expected: Path) -> None:
    assert Settings.from_environment(environment).cache_dir == expected


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("", False), ("0", False)])
def test_offline_disables_downloads(value: str, offline: bool) -> None:
    assert Settings.from_environment({"VGG_DEMO_OFFLINE": value}).offline is offline


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_without_a_home_folder_the_cache_is_in_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container can run under a user ID without a user name."""

    def raise_key_error(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", raise_key_error)
    expected = Path(tempfile.gettempdir()) / ".keras" / "models"
    assert Settings().cache_dir == Settings.from_environment({}).cache_dir == expected
    assert Settings.from_environment({}, weights_dir="~/models").weights_dir == Path("~/models")
