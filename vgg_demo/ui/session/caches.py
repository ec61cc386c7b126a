"""What all pages and all visitors share: settings, models, downloads, results."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st
from PIL import Image

from vgg_demo.analysis.comparison import ModelResult, measure
from vgg_demo.images.photo import Photo
from vgg_demo.inference.background import Downloads
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.results import Classification
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import Resize, resize_image
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.training.jobs.queue import TrainingQueue

RESULTS_KEPT = 500
"""Results in the cache; one of a thousand classes takes about 8 kB."""

DISPLAY_SIDE = 640  # pixels; longer side of the photo on the page

OpenPhoto = Callable[[], Photo]
"""Opens the visitor's photo; for functions that may find it is not needed."""


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


@st.cache_resource(show_spinner=False, on_release=TrainingQueue.close)
def get_training_queue() -> TrainingQueue:
    """Returns the trainings of this server."""
    return TrainingQueue(get_settings(), get_store())


def get_result(
    sha256: str, file: str, spec: ModelSpec, resize: Resize, opened: OpenPhoto
) -> Classification:
    """Classifies a photo, once for each photo and setting.

    Args:
        sha256: Of the photo's bytes: the key.
        file: The photo's name.
        spec: The model.
        resize: How the photo is made square.
        opened: Opens the photo; called if the result is not there yet.

    Raises:
        VggDemoError: Errors are not cached; the next call tries again.
    """
    result = _classify_once(sha256, spec.name, resize.value, _spec=spec, _opened=opened)
    return replace(result, file=file)


# Streamlit hashes only samples of large values, and two photos can collide: the key is the
# SHA-256 of all bytes. What begins with an underscore is not part of the key.
@st.cache_data(max_entries=RESULTS_KEPT, show_spinner=False)
def _classify_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001  # the name of a taught model tells its content
    resize: str,
    *,
    _spec: ModelSpec,
    _opened: OpenPhoto,
) -> Classification:
    nameless = replace(_opened(), file="")  # what is kept for all holds nobody's file name
    return classify_photo(nameless, _spec, get_store(), resize=Resize(resize))


def get_model_result(
    sha256: str, file: str, spec: ModelSpec, resize: Resize, opened: OpenPhoto
) -> ModelResult:
    """Classifies a photo and measures the model, once for each photo and setting.

    As `get_result`, with the costs.

    Raises:
        VggDemoError: Errors are not cached; the next call tries again.
    """
    result = _measure_once(sha256, spec.name, resize.value, _spec=spec, _opened=opened)
    return replace(result, classification=replace(result.classification, file=file))


@st.cache_data(max_entries=RESULTS_KEPT, show_spinner=False)
def _measure_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001
    resize: str,
    *,
    _spec: ModelSpec,
    _opened: OpenPhoto,
) -> ModelResult:
    nameless = replace(_opened(), file="")
    return measure(nameless, _spec, get_store(), resize=Resize(resize))


# Photos are for the session that brought them; results, which hold none, for all.
@st.cache_data(scope="session", max_entries=1, show_spinner=False)
def get_display_copy(sha256: str, _opened: OpenPhoto) -> Image.Image:  # noqa: ARG001
    """Returns a photo at the size of the page.

    Raises:
        ImageError: If the picture cannot be used.
    """
    image = _opened().image.copy()
    image.thumbnail((DISPLAY_SIDE, DISPLAY_SIDE))
    return image


def get_network_input(
    sha256: str, spec: ModelSpec, resize: Resize, opened: OpenPhoto
) -> Image.Image:
    """Returns a photo as the network sees it: resized, before its pixels are scaled."""
    return _resize_once(sha256, spec.name, resize.value, _spec=spec, _opened=opened)


@st.cache_data(scope="session", max_entries=1, show_spinner=False)
def _resize_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001
    resize: str,
    *,
    _spec: ModelSpec,
    _opened: OpenPhoto,
) -> Image.Image:
    return resize_image(_opened().image, _spec, Resize(resize))


def clear_model_results(sha256: str, specs: Sequence[ModelSpec], resize: Resize) -> None:
    """Forgets answers, so that the models are asked and measured anew."""
    for spec in specs:
        _measure_once.clear(sha256, spec.name, resize.value)
