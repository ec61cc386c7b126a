"""Models available to a visitor, their training runs, and models requested in the URL."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import streamlit as st

from vgg_demo.errors import BundleError, UnknownModelError
from vgg_demo.models.lookup import find_model as find_by_name
from vgg_demo.models.lookup import published_models
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.settings import TrainingAccess
from vgg_demo.training.jobs.training_run import TrainingRun
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.browser import remember_ids
from vgg_demo.weights.local import find_weights

MAX_NAMED = 3  # unknown models listed in a warning
MAX_CHARACTERS = 80  # of each unknown model in a warning


def visitor_runs() -> list[TrainingRun]:
    """Returns the visitor's training runs, newest first, except those that were evicted."""
    ids: list[str] = st.session_state.setdefault("runs", [])
    runs = [caches.get_training_queue().get(run_id) for run_id in ids]
    return [run for run in runs if run is not None]


def restore_runs() -> None:
    """Restores the training runs that this browser started, in this tab or an earlier one.

    Selects the newest restored run for the Train page, unless a run is already selected.
    """
    ids: list[str] = st.session_state.setdefault("runs", [])
    known = [run.id for run in visitor_runs()]
    restored = [
        run_id
        for run_id in remember_ids(known)
        if run_id not in ids and caches.get_training_queue().get(run_id) is not None
    ]
    ids += restored
    if restored:
        st.session_state.setdefault("train_shown", restored[0])


def opened_models() -> dict[str, ModelSpec]:
    """Returns the models of uploaded bundles, by name. The caller may add to the dict."""
    models: dict[str, ModelSpec] = st.session_state.setdefault("opened_models", {})
    return models


def may_publish() -> bool:
    """Whether this visitor may publish models, that is, make them available to all visitors."""
    training_access = caches.get_settings().training_access
    return training_access is TrainingAccess.ON or (
        training_access is TrainingAccess.LOCAL and is_local()
    )


def is_local() -> bool:
    """Whether the visitor's browser runs on the same machine as the server.

    Streamlit reports None as the IP address of a local browser. A request through a proxy does
    not count as local, since the proxy's address hides the visitor's.
    """
    proxy_headers = {"x-forwarded-for", "forwarded", "via", "x-real-ip"}
    proxied = {name.casefold() for name in st.context.headers} & proxy_headers
    return st.context.ip_address in (None, "127.0.0.1", "::1") and not proxied


def published_names() -> set[str]:
    """Returns the names of the custom models published on this server."""
    return set(published_models(caches.get_settings().bundles_dir))


def get_models() -> dict[str, ModelSpec]:
    """Returns all models available to this visitor, by name.

    The visitor's own custom models come first, then the published ones, then the pretrained
    models. Custom models that share a display name are displayed by their full names.
    """
    own = [run.result.bundle.spec for run in visitor_runs() if run.result is not None]
    custom_models = {spec.name: spec for spec in own} | opened_models()
    custom_models |= published_models(caches.get_settings().bundles_dir)
    uses = Counter(spec.keras_name for spec in (*custom_models.values(), *MODELS.values()))
    for name, spec in custom_models.items():
        if uses[spec.keras_name] > 1:  # display names must be unique
            custom_models[name] = replace(spec, keras_name=name)
    return custom_models | dict(MODELS)


def find_model(name: str) -> ModelSpec:
    """Returns the model with this name among those available to this visitor.

    Raises:
        UnknownModelError: If there is no such model. The message suggests near matches.
        BundleError: If the name is ambiguous.
    """
    models = get_models()
    return find_by_name(name, {key: models[key] for key in models if key not in MODELS})


def requested_models(key: str, *, is_first_run: bool) -> list[str]:
    """Returns the names of the models that the URL requested when the page was opened.

    A custom model may be unknown on the first run, because the browser sends the IDs of its
    training runs only afterwards (`restore_runs`). Unknown names are therefore looked up again
    on each run, until all are found or `clear_requested_models` is called.

    Args:
        key: Session-state key that stores the request.
        is_first_run: Whether the page has just been opened. The URL is read only then: on later
            runs it may be older than the visitor's latest choice.
    """
    if is_first_run:
        st.session_state[key] = st.query_params.get("models", "")
    names: list[str] = []
    unknown: list[str] = []
    for name in st.session_state.get(key, "").split(","):
        try:
            if name.strip():
                names.append(find_model(name).name)
        except (UnknownModelError, BundleError):
            unknown.append(f"“{escape(name[:MAX_CHARACTERS])}”")
    if unknown:
        what = "an unknown model" if len(unknown) == 1 else "unknown models"
        more = " and others" if len(unknown) > MAX_NAMED else ""
        st.warning(
            f"This link names {what}: {', '.join(unknown[:MAX_NAMED])}{more}.",
            icon=":material/link_off:",
        )
    else:
        clear_requested_models(key)
    return list(dict.fromkeys(names))


def clear_requested_models(key: str) -> None:
    """Discards the models requested in the URL, for example when the visitor selects others."""
    st.session_state[key] = ""


def is_available(spec: ModelSpec) -> bool:
    """Whether a model's weights are installed."""
    return find_weights(spec, caches.get_settings()) is not None
