"""Settings, model store, downloads and results, shared by all pages and visitors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st
from PIL import Image

from vgg_demo.analysis.comparison import ModelResult, measure
from vgg_demo.images.photo import Photo
from vgg_demo.inference.background import BackgroundDownloads
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Classification
from vgg_demo.models.preprocess import Resize, resize_image
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.training.jobs.queue import TrainingQueue

MAX_RESULTS = 500
"""Cached results. A result of a 1000-class model takes about 8 kB."""

DISPLAY_SIDE = 640  # pixels; longer side of the displayed photo

OpenPhoto = Callable[[], Photo]
"""Decodes the visitor's photo. Called only if the result is not cached."""


@st.cache_resource(show_spinner=False)
def get_settings() -> Settings:
    """Returns the settings that the server was started with."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
    return Settings.from_environment(os.environ)


@st.cache_resource(show_spinner=False)
def get_store() -> ModelStore:
    """Returns the model store."""
    return ModelStore(get_settings())


@st.cache_resource(show_spinner=False)
def get_downloads() -> BackgroundDownloads:
    """Returns the background downloads."""
    return BackgroundDownloads(get_settings(), get_store())


@st.cache_resource(show_spinner=False, on_release=TrainingQueue.close)
def get_training_queue() -> TrainingQueue:
    """Returns the training queue."""
    return TrainingQueue(get_settings(), get_store())


def get_result(
    sha256: str, file: str, spec: ModelSpec, resize: Resize, open_photo: OpenPhoto
) -> Classification:
    """Classifies a photo, or returns the cached result for this photo, model and resize method.

    Args:
        sha256: SHA-256 of the photo's bytes, 64 hex digits.
        file: File name to put in the result.
        spec: The model.
        resize: The resize method.
        open_photo: Decodes the photo. Called only if the result is not cached.

    Raises:
        VggDemoError: If the classification fails. Errors are not cached; the next call retries.
    """
    result = _classify_once(sha256, spec.name, resize.value, _spec=spec, _open_photo=open_photo)
    return replace(result, file=file)


# The key contains the photo's SHA-256, because Streamlit hashes only samples of large values, so
# that two photos could collide. Parameters that start with an underscore are not part of the key.
@st.cache_data(max_entries=MAX_RESULTS, show_spinner=False)
def _classify_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001  # a custom model's name contains a hash of its content
    resize: str,
    *,
    _spec: ModelSpec,
    _open_photo: OpenPhoto,
) -> Classification:
    anonymous = replace(_open_photo(), file="")  # the cache is shared by all visitors
    return classify_photo(anonymous, _spec, get_store(), resize=Resize(resize))


def get_model_result(
    sha256: str, file: str, spec: ModelSpec, resize: Resize, open_photo: OpenPhoto
) -> ModelResult:
    """Classifies a photo and measures the model's latency and memory, or returns the cached result.

    Arguments and errors are the same as those of `get_result`.
    """
    result = _measure_once(sha256, spec.name, resize.value, _spec=spec, _open_photo=open_photo)
    return replace(result, classification=replace(result.classification, file=file))


@st.cache_data(max_entries=MAX_RESULTS, show_spinner=False)
def _measure_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001
    resize: str,
    *,
    _spec: ModelSpec,
    _open_photo: OpenPhoto,
) -> ModelResult:
    anonymous = replace(_open_photo(), file="")
    return measure(anonymous, _spec, get_store(), resize=Resize(resize))


# Images are cached per session. Only results, which contain no pixels, are shared.
@st.cache_data(scope="session", max_entries=1, show_spinner=False)
def get_display_copy(sha256: str, _open_photo: OpenPhoto) -> Image.Image:  # noqa: ARG001
    """Returns the photo scaled down to at most `DISPLAY_SIDE` pixels.

    Raises:
        ImageError: If the photo cannot be decoded.
    """
    image = _open_photo().image.copy()
    image.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    return image


def get_model_input(
    sha256: str, spec: ModelSpec, resize: Resize, open_photo: OpenPhoto
) -> Image.Image:
    """Returns the photo resized for a model, before its pixel values are normalized."""
    return _resize_once(sha256, spec.name, resize.value, _spec=spec, _open_photo=open_photo)


@st.cache_data(scope="session", max_entries=1, show_spinner=False)
def _resize_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001
    resize: str,
    *,
    _spec: ModelSpec,
    _open_photo: OpenPhoto,
) -> Image.Image:
    return resize_image(_open_photo().image, _spec, Resize(resize))


def clear_model_results(sha256: str, specs: Sequence[ModelSpec], resize: Resize) -> None:
    """Evicts the results of `get_model_result`, so that the models are measured again."""
    for spec in specs:
        _measure_once.clear(sha256, spec.name, resize.value)
