"""The models that a visitor may use, the trainings that some come from, and those asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import streamlit as st

from vgg_demo.errors import BundleError, UnknownModelError
from vgg_demo.models.catalog import find_model as find_by_name
from vgg_demo.models.catalog import published_models
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.settings import TrainingAccess
from vgg_demo.training.jobs.run import TrainingRun
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.browser import remember
from vgg_demo.weights.local import find_weights

MAX_NAMED = 3  # unknown models that are named in a warning
MAX_CHARACTERS = 80  # of such a name


def visitor_runs() -> list[TrainingRun]:
    """Returns the trainings of this visitor, the newest first; what was forgotten is left out."""
    ids: list[str] = st.session_state.setdefault("runs", [])
    found = [caches.get_training_queue().get(run_id) for run_id in ids]
    return [run for run in found if run is not None]


def restore_runs() -> None:
    """Finds the trainings that this browser has begun, in this window or an earlier one.

    The page Teach shows the newest, if it shows none yet.
    """
    ids: list[str] = st.session_state.setdefault("runs", [])
    known = [run.id for run in visitor_runs()]
    found = [
        run_id
        for run_id in remember(known)
        if run_id not in ids and caches.get_training_queue().get(run_id) is not None
    ]
    ids += found
    if found:
        st.session_state.setdefault("train_shown", found[0])


def opened_models() -> dict[str, ModelSpec]:
    """Returns the taught models that this visitor has uploaded, by their names; may be added to."""
    found: dict[str, ModelSpec] = st.session_state.setdefault("opened_models", {})
    return found


def may_publish() -> bool:
    """Whether this visitor may keep a model on the server, for everybody."""
    training_access = caches.get_settings().training_access
    return training_access is TrainingAccess.ON or (
        training_access is TrainingAccess.LOCAL and is_local()
    )


def is_local() -> bool:
    """Whether the visitor sits at the very machine that the server runs on.

    Streamlit gives no address for such; who comes through another server's hands is not.
    """
    forwarded = {"x-forwarded-for", "forwarded", "via", "x-real-ip"}
    through = {name.casefold() for name in st.context.headers} & forwarded
    return st.context.ip_address in (None, "127.0.0.1", "::1") and not through


def published_names() -> set[str]:
    """Returns the names of the taught models that everybody may use."""
    return set(published_models(caches.get_settings().bundles_dir))


def get_models() -> dict[str, ModelSpec]:
    """Returns all models that this visitor may use, by their names.

    First what the visitor has taught, then what is kept on the server for everybody, then the
    registry's.
    """
    own = [run.result.bundle.spec for run in visitor_runs() if run.result is not None]
    custom_models = {spec.name: spec for spec in own} | opened_models()
    custom_models |= published_models(caches.get_settings().bundles_dir)
    called = Counter(spec.keras_name for spec in (*custom_models.values(), *MODELS.values()))
    for name, spec in custom_models.items():
        if called[spec.keras_name] > 1:  # people must be able to tell them apart
            custom_models[name] = replace(spec, keras_name=name)
    return custom_models | dict(MODELS)


def find_model(name: str) -> ModelSpec:
    """Returns a model that this visitor may use.

    Raises:
        UnknownModelError: If there is none; the message names the nearest matches.
        BundleError: If several are called so.
    """
    models = get_models()
    return find_by_name(name, {key: models[key] for key in models if key not in MODELS})


def asked_models(key: str, *, is_opened: bool) -> list[str]:
    """Returns the names of the models that the address asked for when a page was opened.

    A taught model may not be known at first: the browser tells which trainings are its own
    (`restore_runs`) only after it has the page. So what is unknown is looked for again each time,
    until `choose_others`.

    Args:
        key: Where the session keeps what was asked for.
        is_opened: Whether the page is just being opened. Later the address may be behind what
            was chosen since.
    """
    if is_opened:
        st.session_state[key] = st.query_params.get("models", "")
    found: list[str] = []
    unknown: list[str] = []
    for name in st.session_state.get(key, "").split(","):
        try:
            if name.strip():
                found.append(find_model(name).name)
        except (UnknownModelError, BundleError):
            unknown.append(f"“{escape(name[:MAX_CHARACTERS])}”")
    if unknown:
        more = " and others" if len(unknown) > MAX_NAMED else ""
        st.warning(
            f"The address asks for models that do not exist: {', '.join(unknown[:MAX_NAMED])}"
            f"{more}.",
            icon=":material/link_off:",
        )
    else:
        choose_others(key)
    return list(dict.fromkeys(found))


def choose_others(key: str) -> None:
    """Says that the visitor has chosen, whatever the address asked for."""
    st.session_state[key] = ""


def is_available(spec: ModelSpec) -> bool:
    """Whether a model's weights are on this machine."""
    return find_weights(spec, caches.get_settings()) is not None
