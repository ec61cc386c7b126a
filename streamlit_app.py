"""Starts the page: `streamlit run streamlit_app.py`."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.formparsers import MultiPartParser

from vgg_demo.errors import SettingsError
from vgg_demo.images import DEFAULT_LIMITS
from vgg_demo.settings import Settings

# Starlette writes uploads of more than 1 MB to a temporary file. Ours stay in memory.
MultiPartParser.spool_max_size = 2 * DEFAULT_LIMITS.size_bytes


try:
    Settings.from_environment(os.environ)
except SettingsError as error:
    sys.exit(f"Error: {error}")


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    # Imported here: what Streamlit caches must not be made before its runtime exists.
    from vgg_demo.ui.shared import get_downloads, warm_up

    warm_up()
    yield
    get_downloads().stop()


app = st.App("vgg_demo/ui/main.py", lifespan=lifespan)
