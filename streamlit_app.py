"""Starts the page: `streamlit run streamlit_app.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    # Imported here: what Streamlit caches must not be made before its runtime exists.
    from vgg_demo.ui.shared import warm_up

    warm_up()
    yield


app = st.App("vgg_demo/ui/main.py", lifespan=lifespan)
