"""Settings: read once, from the environment, at the door."""

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
def test_the_cache_is_that_of_keras(environment: dict[str, str], expected: Path) -> None:
    assert Settings.from_environment(environment).cache_dir == expected


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("", False), ("0", False)])
def test_offline_switch(value: str, offline: bool) -> None:
    assert Settings.from_environment({"VGG_DEMO_OFFLINE": value}).offline is offline


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_without_a_home_the_cache_is_where_keras_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run under a number that no user has."""

    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    expected = Path(tempfile.gettempdir()) / ".keras" / "models"
    assert Settings().cache_dir == Settings.from_environment({}).cache_dir == expected
    assert Settings.from_environment({}, weights_dir="~/mine").weights_dir == Path("~/mine")
