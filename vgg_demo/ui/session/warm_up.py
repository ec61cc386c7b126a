"""Downloads and loads the default model before the first visitor needs it."""

from __future__ import annotations

import logging
import threading

from vgg_demo.errors import VggDemoError
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL, ModelSpec, get_spec
from vgg_demo.ui.session import available_models, caches


def fetch_default_model() -> None:
    """Starts the download of the default model, unless it is installed or was already started."""
    spec, downloads = get_spec(DEFAULT_MODEL), caches.get_downloads()
    if not (
        available_models.is_available(spec) or caches.get_settings().offline or downloads.get(spec)
    ):
        downloads.start(spec)


def warm_up() -> None:
    """Prepares the first prediction in the background.

    Downloads the default model's weights if they are missing, imports TensorFlow and loads a
    model, so that the first prediction is as fast as the second.
    """
    default = get_spec(DEFAULT_MODEL)
    fetch_default_model()
    spec = default if available_models.is_available(default) else get_spec(EMBEDDED_MODEL)
    threading.Thread(
        target=_load, args=(spec, caches.get_store()), name="warm-up", daemon=True
    ).start()


def _load(spec: ModelSpec, store: ModelStore) -> None:
    try:
        with store.use(spec):
            pass
    except VggDemoError as error:  # the page shows the same error when this model is chosen
        logging.getLogger(__name__).warning("Could not warm up %s: %s", spec.name, error)
