"""What all pages and all visitors share: settings, models, downloads, results."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from dataclasses import replace

import streamlit as st
from PIL import Image

from vgg_demo.classify import classify
from vgg_demo.downloads import Downloads
from vgg_demo.errors import VggDemoError
from vgg_demo.images import decode
from vgg_demo.preprocess import Resize, resize
from vgg_demo.registry import DEFAULT_MODEL, EMBEDDED_MODEL, ModelSpec, get_spec
from vgg_demo.results import Classification
from vgg_demo.settings import Settings
from vgg_demo.store import ModelStore
from vgg_demo.weights import find_weights

RESULTS_KEPT = 500
"""Results in the cache; one of a thousand classes takes about 8 kB."""

DISPLAY_SIDE = 640  # pixels; longer side of the photo on the page


@st.cache_resource(show_spinner=False)
def get_settings() -> Settings:
    """Returns the settings that the server was started with."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    return Settings.from_environment(os.environ)


@st.cache_resource(show_spinner=False)
def get_store() -> ModelStore:
    """Returns the one store of this server."""
    return ModelStore(get_settings())


@st.cache_resource(show_spinner=False)
def get_downloads() -> Downloads:
    """Returns the downloads of this server."""
    return Downloads(get_settings(), get_store())


def get_result(data: bytes, file: str, spec: ModelSpec, policy: Resize) -> Classification:
    """Classifies a photo, once for each photo and setting.

    Raises:
        VggDemoError: Errors are not cached; the next call tries again.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    return replace(_classify_once(sha256, spec.name, policy.value, _data=data), file=file)


@st.cache_data(max_entries=RESULTS_KEPT, show_spinner=False)
def _classify_once(
    sha256: str,  # noqa: ARG001  # the key: Streamlit hashes only samples of large values
    model: str,
    resize: str,
    *,
    _data: bytes,
) -> Classification:
    settings = get_settings()
    return classify(
        _data, get_spec(model), get_store(), policy=Resize(resize), limits=settings.limits
    )


def get_display_copy(data: bytes) -> Image.Image:
    """Returns a photo at the size of the page, decoded once.

    Raises:
        ImageError: If the picture cannot be used.
    """
    return _shrink_once(hashlib.sha256(data).hexdigest(), _data=data)


# Photos are for the session that brought them; results, which hold none, for all.
@st.cache_data(scope="session", max_entries=1, show_spinner=False)
def _shrink_once(sha256: str, *, _data: bytes) -> Image.Image:  # noqa: ARG001
    image = decode(_data, get_settings().limits)
    image.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    return image


def get_network_input(data: bytes, spec: ModelSpec, policy: Resize) -> Image.Image:
    """Returns a photo as the network sees it: resized, before its pixels are scaled."""
    sha256 = hashlib.sha256(data).hexdigest()
    return _resize_once(sha256, spec.name, policy.value, _data=data)


@st.cache_data(scope="session", max_entries=1, show_spinner=False)
def _resize_once(
    sha256: str,  # noqa: ARG001
    model: str,
    policy: str,
    *,
    _data: bytes,
) -> Image.Image:
    image = decode(_data, get_settings().limits)
    return resize(image, get_spec(model), Resize(policy))


def is_here(spec: ModelSpec) -> bool:
    """Whether a model's weights are on this machine."""
    return find_weights(spec, get_settings()) is not None


def warm_up() -> None:
    """Fetches and loads in the background what the first visitor will need.

    The default model's weights are downloaded if they are missing. TensorFlow is imported
    and a model loaded, so that the first answer comes as fast as the second.
    """
    default = get_spec(DEFAULT_MODEL)
    if not is_here(default) and not get_settings().offline:
        get_downloads().start(default)
    spec = default if is_here(default) else get_spec(EMBEDDED_MODEL)
    threading.Thread(target=_load, args=(spec, get_store()), name="warm-up", daemon=True).start()


def _load(spec: ModelSpec, store: ModelStore) -> None:
    try:
        store.get(spec)
    except VggDemoError as error:  # the page will say so to whoever asks for this model
        logging.getLogger(__name__).warning("Could not warm up %s: %s", spec.name, error)
