"""Starts the page and the API on one port: `streamlit run streamlit_app.py`."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.routing import Mount

from vgg_demo.api import ApiSettings, Service, create_api
from vgg_demo.errors import SettingsError
from vgg_demo.settings import Settings

st.secrets.load_if_toml_exists()  # it makes environment variables of them, before they are read
try:
    Settings.from_environment(os.environ)
    api_settings = ApiSettings.from_environment(os.environ)
except SettingsError as error:
    sys.exit(f"Error: {error}")


def get_service() -> Service:
    """Returns what answers the API, with the very models that the page uses."""
    # Imported here: what Streamlit caches must not be made before its runtime exists.
    from vgg_demo.ui.session.caches import get_downloads, get_settings, get_store

    return Service(get_settings(), api_settings, get_store(), get_downloads())


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    from vgg_demo.ui.session.caches import get_classroom, get_downloads
    from vgg_demo.ui.session.warm_up import warm_up

    warm_up()
    yield
    get_downloads().stop()
    get_classroom().close()


app = st.App(
    "vgg_demo/ui/main.py",
    routes=[Mount("/api", app=create_api(get_service, api_settings))],
    lifespan=lifespan,
)
