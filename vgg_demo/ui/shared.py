"""What all pages and all visitors share: settings, models, downloads, results."""

from __future__ import annotations

import logging
import os
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import streamlit as st
from PIL import Image
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from vgg_demo.catalogue import find_model as find_by_name
from vgg_demo.catalogue import kept_models
from vgg_demo.classify import classify_photo
from vgg_demo.compare import Answer, ask
from vgg_demo.downloads import Downloads
from vgg_demo.errors import VggDemoError
from vgg_demo.photo import Photo
from vgg_demo.preprocess import Resize, resize
from vgg_demo.registry import DEFAULT_MODEL, EMBEDDED_MODEL, MODELS, ModelSpec, get_spec
from vgg_demo.results import Classification
from vgg_demo.settings import Settings, Teaching
from vgg_demo.store import ModelStore
from vgg_demo.teach.classroom import Classroom
from vgg_demo.teach.run import Run
from vgg_demo.ui.live import remember
from vgg_demo.verdict import (
    GROUP_THRESHOLD,
    MAX_EFFECTIVE_CLASSES,
    MAX_GROUP_SHARE,
    MIN_MARGIN,
)
from vgg_demo.weights import find_weights

RESULTS_KEPT = 500
"""Results in the cache; one of a thousand classes takes about 8 kB."""

DISPLAY_SIDE = 640  # pixels; longer side of the photo on the page

SURE_GROUP = (
    f"Some kind of thing adds up to {GROUP_THRESHOLD:.0%} or more and covers at most "
    f"{MAX_GROUP_SHARE:.0%} of what the model knows; the headline names the most specific one."
)
SURE_MARGIN = f"The first answer leads the second by {100 * MIN_MARGIN:.0f} points or more."
SURE_SPREAD = (
    f"The probability is spread as if over {MAX_EFFECTIVE_CLASSES:.0f} equally likely things "
    "or fewer."
)

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


@st.cache_resource(show_spinner=False, on_release=Classroom.close)
def get_classroom() -> Classroom:
    """Returns the trainings of this server."""
    return Classroom(get_settings(), get_store())


def my_runs() -> list[Run]:
    """Returns the trainings of this visitor, the newest first; what was forgotten is left out."""
    ids: list[str] = st.session_state.setdefault("runs", [])
    found = [get_classroom().get(run_id) for run_id in ids]
    return [run for run in found if run is not None]


def come_back() -> str:
    """Finds the trainings that this browser has begun, in this window or an earlier one.

    Returns:
        The id of the newest that was found anew; empty if none was.
    """
    ids: list[str] = st.session_state.setdefault("runs", [])
    known = [run.id for run in my_runs()]
    found = [
        run_id
        for run_id in remember(known)
        if run_id not in ids and get_classroom().get(run_id) is not None
    ]
    ids += found
    return found[0] if found else ""


def opened_models() -> dict[str, ModelSpec]:
    """Returns the taught models that this visitor has uploaded, by their names; may be added to."""
    found: dict[str, ModelSpec] = st.session_state.setdefault("opened_models", {})
    return found


def may_keep() -> bool:
    """Whether this visitor may keep a model on the server, for everybody."""
    teaching = get_settings().teaching
    return teaching is Teaching.ON or (teaching is Teaching.LOCAL and is_local())


def is_local() -> bool:
    """Whether the visitor sits at the very machine that the server runs on.

    Streamlit gives no address for such; who comes through another server's hands is not.
    """
    forwarded = {"x-forwarded-for", "forwarded", "via", "x-real-ip"}
    through = {name.casefold() for name in st.context.headers} & forwarded
    return st.context.ip_address in (None, "127.0.0.1", "::1") and not through


def kept_names() -> set[str]:
    """Returns the names of the taught models that everybody may use."""
    return set(kept_models(get_settings().bundles_dir))


def get_models() -> dict[str, ModelSpec]:
    """Returns all models that this visitor may use, by their names.

    First what the visitor has taught, then what is kept on the server for everybody, then the
    registry's.
    """
    own = [run.result.bundle.spec for run in my_runs() if run.result is not None]
    taught = {spec.name: spec for spec in own} | opened_models()
    taught |= kept_models(get_settings().bundles_dir)
    called = Counter(spec.keras_name for spec in (*taught.values(), *MODELS.values()))
    for name, spec in taught.items():
        if called[spec.keras_name] > 1:  # people must be able to tell them apart
            taught[name] = replace(spec, keras_name=name)
    return taught | dict(MODELS)


def find_model(name: str) -> ModelSpec:
    """Returns a model that this visitor may use.

    Raises:
        UnknownModelError: If there is none; the message names the nearest matches.
        BundleError: If several are called so.
    """
    models = get_models()
    return find_by_name(name, {key: models[key] for key in models if key not in MODELS})


def get_result(
    sha256: str, file: str, spec: ModelSpec, policy: Resize, opened: OpenPhoto
) -> Classification:
    """Classifies a photo, once for each photo and setting.

    Args:
        sha256: Of the photo's bytes: the key.
        file: The photo's name.
        spec: The model.
        policy: How the photo is made square.
        opened: Opens the photo; called if the result is not there yet.

    Raises:
        VggDemoError: Errors are not cached; the next call tries again.
    """
    result = _classify_once(sha256, spec.name, policy.value, _spec=spec, _opened=opened)
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
    return classify_photo(nameless, _spec, get_store(), policy=Resize(resize))


def get_answer(
    sha256: str, file: str, spec: ModelSpec, policy: Resize, opened: OpenPhoto
) -> Answer:
    """Classifies a photo and measures the model, once for each photo and setting.

    As `get_result`, with the costs.

    Raises:
        VggDemoError: Errors are not cached; the next call tries again.
    """
    answer = _ask_once(sha256, spec.name, policy.value, _spec=spec, _opened=opened)
    return replace(answer, result=replace(answer.result, file=file))


@st.cache_data(max_entries=RESULTS_KEPT, show_spinner=False)
def _ask_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001
    resize: str,
    *,
    _spec: ModelSpec,
    _opened: OpenPhoto,
) -> Answer:
    nameless = replace(_opened(), file="")
    return ask(nameless, _spec, get_store(), policy=Resize(resize))


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
    sha256: str, spec: ModelSpec, policy: Resize, opened: OpenPhoto
) -> Image.Image:
    """Returns a photo as the network sees it: resized, before its pixels are scaled."""
    return _resize_once(sha256, spec.name, policy.value, _spec=spec, _opened=opened)


@st.cache_data(scope="session", max_entries=1, show_spinner=False)
def _resize_once(
    sha256: str,  # noqa: ARG001
    model: str,  # noqa: ARG001
    policy: str,
    *,
    _spec: ModelSpec,
    _opened: OpenPhoto,
) -> Image.Image:
    return resize(_opened().image, _spec, Resize(policy))


def visitor() -> str:
    """Returns a name for this session, which nobody else has."""
    return str(st.session_state.setdefault("visitor", uuid.uuid4().hex))


def measure_again(sha256: str, specs: Sequence[ModelSpec], policy: Resize) -> None:
    """Forgets answers, so that the models are asked and measured anew."""
    for spec in specs:
        _ask_once.clear(sha256, spec.name, policy.value)


def release(files: Iterable[UploadedFile]) -> None:
    """Has the server forget uploaded files; who has them in hand keeps them.

    Streamlit keeps them until the session ends, unless it is the visitor's browser that takes
    them back.
    """
    context = get_script_run_ctx()
    if context is None:
        return
    manager = context.uploaded_file_mgr
    if isinstance(manager, MemoryUploadedFileManager):
        for file in files:
            manager.remove_file(context.session_id, file.file_id)


def text_color() -> str:
    """Returns the colour of text in the visitor's theme, for what Streamlit draws paler."""
    kind = st.context.theme.type or "light"
    return str(st.get_option(f"theme.{kind}.textColor"))


def escape(text: object) -> str:
    r"""Keeps Markdown from reading what is plain text: a file name, a path, an error.

    What looks like an address becomes a link even where its signs are escaped; an invisible
    sign that forbids a line break keeps it from looking so.

    >>> print(escape(r"C:\.keras"))
    C\:\\.keras
    >>> escape("www.example.com") == "www\u2060.example.com"
    True
    """
    line = " ".join(str(text).split())
    no_link = re.sub(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?=@)", "\u2060", line)
    escaped = re.sub(r"([\\`*_{}\[\]<>#$~:|])", r"\\\1", no_link)
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", escaped)  # no list begins with it


def is_here(spec: ModelSpec) -> bool:
    """Whether a model's weights are on this machine."""
    return find_weights(spec, get_settings()) is not None


def fetch_default_model() -> None:
    """Starts the download of the default model where it is missing, once."""
    spec, downloads = get_spec(DEFAULT_MODEL), get_downloads()
    if not (is_here(spec) or get_settings().offline or downloads.get(spec)):
        downloads.start(spec)


def warm_up() -> None:
    """Fetches and loads in the background what the first visitor will need.

    The default model's weights are downloaded if they are missing. TensorFlow is imported
    and a model loaded, so that the first answer comes as fast as the second.
    """
    default = get_spec(DEFAULT_MODEL)
    fetch_default_model()
    spec = default if is_here(default) else get_spec(EMBEDDED_MODEL)
    threading.Thread(target=_load, args=(spec, get_store()), name="warm-up", daemon=True).start()


def _load(spec: ModelSpec, store: ModelStore) -> None:
    try:
        with store.use(spec):
            pass
    except VggDemoError as error:  # the page will say so to whoever asks for this model
        logging.getLogger(__name__).warning("Could not warm up %s: %s", spec.name, error)
