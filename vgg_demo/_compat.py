"""Uses of private APIs of other libraries, each with its reason and a contract test."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any


def configure_streamlit() -> None:
    """Applies the packaged Streamlit configuration to options that are not set elsewhere.

    Streamlit reads ``.streamlit/config.toml`` in the working directory and next to the script of
    ``streamlit run``. An ASGI server started elsewhere has neither, and Streamlit has no public
    API to set its theme and limits in that case. Contract test: ``tests/test_app.py``.
    """
    from streamlit import config

    text = files("vgg_demo").joinpath("data", "streamlit.toml").read_text("utf-8")
    for key, value in _flatten(tomllib.loads(text)):
        if not config.is_manually_set(key):
            config.set_option(key, value)


def _flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
