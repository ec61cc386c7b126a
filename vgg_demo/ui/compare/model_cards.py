"""One card for each model of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vgg_demo.analysis.comparison import ModelFailure, ModelResult
from vgg_demo.analysis.verdict import describe_classes, headline, interpret
from vgg_demo.errors import DiskFullError, VggDemoError, WeightsDownloadError, WeightsMissingError
from vgg_demo.inference.background import Status
from vgg_demo.inference.results import Prediction
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import Accuracy, ModelSpec
from vgg_demo.reports import charts
from vgg_demo.ui.components.model_picker import describe_progress
from vgg_demo.ui.components.photo_input import ChosenPhoto
from vgg_demo.ui.components.prediction import describe_chart, show_warning_badges
from vgg_demo.ui.components.text import PREPROCESSING_DESCRIPTIONS
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.visitor import visitor_id
from vgg_demo.ui.theme import text_color
from vgg_demo.weights.local import manual_install_instructions


@dataclass(frozen=True, slots=True)
class Cards:
    """The state of all model cards.

    Attributes:
        outcomes: Results and failures so far, in the order of the cards.
        is_waiting: Whether the other models wait for a download.
        class_colors: The color of each class as CSS, by WordNet ID.
    """

    outcomes: tuple[ModelResult | ModelFailure, ...]
    is_waiting: bool
    class_colors: Mapping[str, str]


def show_cards(
    photo: ChosenPhoto,
    specs: list[ModelSpec],
    resize: Resize,
    top: int,
    open_photo: caches.OpenPhoto,
    progress: DeltaGenerator,
) -> Cards:
    """Runs the models one by one and fills each card as soon as its result is ready.

    Installed models run first. The others are downloaded one by one; meanwhile the page checks
    the progress every second.

    Args:
        photo: The photo.
        specs: The models.
        resize: The resize method.
        top: Number of predictions on each card.
        open_photo: Decodes the photo; called only if a result is not cached.
        progress: Placeholder for the progress bar.

    Returns:
        The state of all cards.
    """
    with st.grid(3, min_column_width=300, gap="small"):
        cards = {spec: st.container(border=True, height="stretch") for spec in specs}
    placeholders: dict[ModelSpec, DeltaGenerator] = {}
    for spec, card in cards.items():
        with card:
            st.markdown(f"#### {escape(spec.keras_name)}")
            placeholders[spec] = st.empty()
            placeholders[spec].caption("Waiting …")
    outcomes: dict[ModelSpec, ModelResult | ModelFailure] = {}
    shown: list[Prediction] = []
    downloading: ModelSpec | None = None
    for spec in sorted(specs, key=needs_download):
        progress.progress(len(outcomes) / len(specs), f"{len(outcomes)} of {len(specs)} models")
        with placeholders[spec].container():
            if downloading is not None:
                st.caption(f"Waiting for {escape(downloading.keras_name)} …")
            elif download_if_needed(spec):
                downloading = spec
                show_download(spec)
            else:
                outcomes[spec] = outcome = get_outcome(photo, spec, resize, open_photo)
                show_outcome(outcome, spec, top, shown)
    if downloading is None:
        progress.empty()
    return Cards(
        outcomes=tuple(outcomes[spec] for spec in specs if spec in outcomes),
        is_waiting=downloading is not None,
        class_colors=charts.assign_class_colors(shown),
    )


def needs_download(spec: ModelSpec) -> bool:
    """Whether a model is not installed or is still being downloaded."""
    download = caches.get_downloads().get(spec)
    return not available_models.is_available(spec) or (download is not None and download.is_active)


def download_if_needed(spec: ModelSpec) -> bool:
    """Starts the download of a missing model if allowed. Returns whether it is downloading."""
    downloads = caches.get_downloads()
    download = downloads.get(spec)
    is_active = download is not None and download.is_active
    has_failed = download is not None and download.status is Status.FAILED
    may_start = not (
        available_models.is_available(spec) or caches.get_settings().offline or has_failed
    )
    if is_active or may_start:
        downloads.start(spec, visitor_id())
        return True
    return False


@st.fragment(run_every=1.0)
def show_download(spec: ModelSpec) -> None:
    download = caches.get_downloads().get(spec)
    if download is None or not download.is_active:
        st.rerun(scope="app")
    st.progress(*describe_progress(download))


def get_outcome(
    photo: ChosenPhoto, spec: ModelSpec, resize: Resize, open_photo: caches.OpenPhoto
) -> ModelResult | ModelFailure:
    """Runs a model, or returns its cached result. Errors are returned as a failure."""
    download = caches.get_downloads().get(spec)
    if (
        not available_models.is_available(spec)
        and download is not None
        and download.status is Status.FAILED
    ):
        return ModelFailure(spec.name, type(download.error).__name__, str(download.error))
    try:
        is_loaded = caches.get_store().is_loaded(spec)
        name = escape(spec.keras_name)
        with st.spinner("Classifying …" if is_loaded else f"Loading {name} …", show_time=True):
            return caches.get_model_result(photo.sha256, photo.file, spec, resize, open_photo)
    except VggDemoError as error:
        return ModelFailure(spec.name, type(error).__name__, str(error))


def show_outcome(
    outcome: ModelResult | ModelFailure, spec: ModelSpec, top: int, shown: list[Prediction]
) -> None:
    """Shows a result or a failure on a card.

    The predictions are appended to `shown`, which determines the class colors, so that each class
    has the same color on all cards.
    """
    if isinstance(outcome, ModelResult):
        predictions = outcome.classification.predictions(top)
        shown.extend(predictions)
        show_model_result(outcome, predictions, charts.assign_class_colors(shown))
    else:
        show_failure(outcome, spec)


def show_failure(failure: ModelFailure, spec: ModelSpec) -> None:
    """Shows why a model has no result, and what to do about it."""
    if failure.error == WeightsMissingError.__name__ and caches.get_settings().offline:
        name = escape(spec.keras_name)
        st.markdown(f":material/cloud_off: {name} is not installed and downloads are disabled.")
        with st.popover("How to install it", type="tertiary"):
            st.markdown(escape(manual_install_instructions(spec, caches.get_settings())))
        return
    st.error(escape(failure.message), icon=":material/error:")
    if failure.error in (WeightsDownloadError.__name__, DiskFullError.__name__):
        st.button(
            "Try again",
            key=f"again-{spec.name}",
            icon=":material/download:",
            on_click=caches.get_downloads().start,
            args=(spec, visitor_id()),
        )


def show_model_result(
    result: ModelResult, predictions: tuple[Prediction, ...], class_colors: dict[str, str]
) -> None:
    spec, classification = result.spec, result.classification
    verdict = interpret(classification)
    first, second = map(escape, headline(verdict))
    st.markdown(f"**{first}**" + (f"  \n{second}" if second else ""))
    with st.container(horizontal=True, gap="small"):
        show_warning_badges(verdict, classification)
    frame = charts.predictions_frame(predictions, spec.classes)
    st.altair_chart(
        charts.predictions_chart(frame, text_color(), class_colors), alt=describe_chart(predictions)
    )
    st.markdown(
        f"**{1000 * result.median_seconds:.0f} ms** per photo · "
        f"{result.memory_bytes / 1e6:,.0f} MB of memory"
    )
    with st.expander("Details"):
        st.markdown(
            f"- **Accuracy:** {describe_accuracy(spec.accuracy)}\n"
            f"- **Parameters:** {spec.parameters:,} "
            f"({spec.weights.size_bytes / 1e6:,.0f} MB on disk)\n"
            f"- **Input:** {spec.input_size} × {spec.input_size} pixels, "
            f"{PREPROCESSING_DESCRIPTIONS[spec.preprocessing]}\n"
            f"- **Latency:** median of {len(result.run_seconds)} runs, model already loaded; "
            f"95th percentile {1000 * result.p95_seconds:.0f} ms"
        )
        if scope := describe_classes(spec):
            st.caption(escape(scope))


def describe_accuracy(accuracy: Accuracy | None) -> str:
    """Describes a model's published accuracy with the test set and a link to the source."""
    if accuracy is None:
        return "not published"
    top5 = f", {accuracy.top5:.1f}% top-5" if accuracy.top5 else ""
    source = accuracy.test_set
    if accuracy.source.startswith("http"):
        source = f"[{source}]({accuracy.source})"
    return f"{accuracy.top1:.1f}% top-1{top5} ({source})"
