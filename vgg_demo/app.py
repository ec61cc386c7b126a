"""The ASGI application: the Streamlit page and, under `/api`, the HTTP API, on one port."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.routing import Mount

from vgg_demo import memory
from vgg_demo._compat import configure_streamlit
from vgg_demo.api import ApiSettings, Service, create_api
from vgg_demo.errors import SettingsError
from vgg_demo.settings import Settings

PAGE = Path(__file__).parent / "ui" / "pages" / "navigation.py"


def app_options() -> dict[str, Any]:
    """Prepares the process and returns the arguments of `st.App`.

    `streamlit run` requires that the script itself calls `st.App`, so this function returns the
    arguments rather than the application.

    Raises:
        SystemExit: If a setting is invalid; the message names it.
    """
    memory.prepare_process()
    st.secrets.load_if_toml_exists()  # copies secrets to environment variables
    try:
        Settings.from_environment(os.environ)
        api_settings = ApiSettings.from_environment(os.environ)
    except SettingsError as error:
        sys.exit(f"Error: {error}")

    def get_service() -> Service:
        # Imported late: Streamlit's caches must not be created before its runtime.
        from vgg_demo.ui.session.caches import get_downloads, get_settings, get_store

        return Service(get_settings(), api_settings, get_store(), get_downloads())

    return {
        "script_path": PAGE,
        "routes": [Mount("/api", app=create_api(get_service, api_settings))],
        "lifespan": lifespan,
    }


def create_app() -> st.App:
    """Returns the application, for ASGI servers: `uvicorn --factory vgg_demo.app:create_app`."""
    configure_streamlit()
    return st.App(**app_options())


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Loads the first model in the background at startup; stops background work at shutdown."""
    from vgg_demo.ui.session.caches import get_downloads, get_training_queue
    from vgg_demo.ui.session.warm_up import warm_up

    warm_up()
    yield
    get_downloads().stop()
    get_training_queue().close()
