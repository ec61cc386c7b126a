"""One card for each model that is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vgg_demo.analysis.comparison import ModelFailure, ModelResult
from vgg_demo.analysis.verdict import headline, interpret, scope
from vgg_demo.errors import DiskFullError, VggDemoError, WeightsDownloadError, WeightsMissingError
from vgg_demo.inference.background import Status
from vgg_demo.inference.results import Prediction
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import Accuracy, ModelSpec
from vgg_demo.reports import charts
from vgg_demo.ui.components.model_picker import describe_progress
from vgg_demo.ui.components.photo_input import ChosenPhoto
from vgg_demo.ui.components.prediction import describe_chart, show_doubts
from vgg_demo.ui.components.text import PREPROCESSING_DESCRIPTIONS
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models, caches
from vgg_demo.ui.session.visitor import visitor_id
from vgg_demo.ui.theme import text_color
from vgg_demo.weights.local import how_to_place


@dataclass(frozen=True, slots=True)
class Cards:
    """What is in the cards.

    Attributes:
        outcomes: What came of the models that were asked so far.
        are_waiting: Whether others are still on their way.
        class_colors: The colour of each class, by its WordNet ID.
    """

    outcomes: tuple[ModelResult | ModelFailure, ...]
    are_waiting: bool
    class_colors: Mapping[str, str]


def show_cards(
    photo: ChosenPhoto,
    specs: list[ModelSpec],
    resize: Resize,
    top: int,
    opened: caches.OpenPhoto,
    progress: DeltaGenerator,
) -> Cards:
    """Asks one model after the other and fills its card as soon as it has answered.

    What is on this machine is asked first; what is not is downloaded, one after the other,
    while the page looks now and then how far it is.

    Args:
        photo: The photo.
        specs: The models.
        resize: How the photo is made square.
        top: How many answers each card shows.
        opened: Opens the photo.
        progress: Where it is told how many are done.

    Returns:
        What is in the cards.
    """
    with st.grid(3, min_column_width=300, gap="small"):
        cards = {spec: st.container(border=True, height="stretch") for spec in specs}
    places: dict[ModelSpec, DeltaGenerator] = {}
    for spec, card in cards.items():
        with card:
            st.markdown(f"#### {escape(spec.keras_name)}")
            places[spec] = st.empty()
            places[spec].caption("Waiting …")
    outcomes: dict[ModelSpec, ModelResult | ModelFailure] = {}
    seen: list[Prediction] = []
    waited_for: ModelSpec | None = None
    for spec in sorted(specs, key=has_to_wait):
        progress.progress(len(outcomes) / len(specs), f"{len(outcomes)} of {len(specs)} are done.")
        with places[spec].container():
            if waited_for is not None:
                st.caption(f"Comes after {escape(waited_for.keras_name)} …")
            elif is_on_its_way(spec):
                waited_for = spec
                show_download(spec)
            else:
                outcomes[spec] = outcome = get_outcome(photo, spec, resize, opened)
                show_outcome(outcome, spec, top, seen)
    if waited_for is None:
        progress.empty()
    return Cards(
        outcomes=tuple(outcomes[spec] for spec in specs if spec in outcomes),
        are_waiting=waited_for is not None,
        class_colors=charts.color_classes(seen),
    )


def has_to_wait(spec: ModelSpec) -> bool:
    """Whether a model can answer only when it has come from elsewhere."""
    download = caches.get_downloads().get(spec)
    return not available_models.is_available(spec) or (
        download is not None and download.is_under_way
    )


def is_on_its_way(spec: ModelSpec) -> bool:
    """Whether a model is being downloaded; begins with it if it may."""
    downloads = caches.get_downloads()
    download = downloads.get(spec)
    is_under_way = download is not None and download.is_under_way
    has_failed = download is not None and download.status is Status.FAILED
    may_start = not (
        available_models.is_available(spec) or caches.get_settings().offline or has_failed
    )
    if is_under_way or may_start:
        downloads.start(spec, visitor_id())
        return True
    return False


@st.fragment(run_every=1.0)
def show_download(spec: ModelSpec) -> None:
    download = caches.get_downloads().get(spec)
    if download is None or not download.is_under_way:
        st.rerun(scope="app")
    st.progress(*describe_progress(download))


def get_outcome(
    photo: ChosenPhoto, spec: ModelSpec, resize: Resize, opened: caches.OpenPhoto
) -> ModelResult | ModelFailure:
    """Asks a model; what keeps it from answering is an outcome too."""
    download = caches.get_downloads().get(spec)
    if (
        not available_models.is_available(spec)
        and download is not None
        and download.status is Status.FAILED
    ):
        return ModelFailure(spec.name, type(download.error).__name__, str(download.error))
    try:
        loaded = caches.get_store().is_loaded(spec)
        with st.spinner("Looking …" if loaded else "Loading …", show_time=True):
            return caches.get_model_result(photo.sha256, photo.file, spec, resize, opened)
    except VggDemoError as error:
        return ModelFailure(spec.name, type(error).__name__, str(error))


def show_outcome(
    outcome: ModelResult | ModelFailure, spec: ModelSpec, top: int, seen: list[Prediction]
) -> None:
    """Fills a card; adds what it shows to what was seen, so that colours stay the same."""
    if isinstance(outcome, ModelResult):
        predictions = outcome.classification.predictions(top)
        seen.extend(predictions)
        show_model_result(outcome, predictions, charts.color_classes(seen))
    else:
        show_failure(outcome, spec)


def show_failure(failure: ModelFailure, spec: ModelSpec) -> None:
    if failure.error == WeightsMissingError.__name__ and caches.get_settings().offline:
        st.markdown(":material/cloud_off: Not on this machine, and downloading is switched off.")
        with st.popover("How to add it", type="tertiary"):
            st.markdown(escape(how_to_place(spec, caches.get_settings())))
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
        show_doubts(verdict, classification)
    frame = charts.predictions_frame(predictions, spec.classes)
    st.altair_chart(
        charts.top_chart(frame, text_color(), class_colors), alt=describe_chart(predictions)
    )
    st.markdown(
        f"**{1000 * result.median_seconds:.0f} ms** a photo · "
        f"{result.memory_bytes / 1e6:,.0f} MB in memory"
    )
    with st.expander("More about this network"):
        st.markdown(
            f"- **Right:** {describe_accuracy(spec.accuracy)}\n"
            f"- **Parameters:** {spec.parameters:,}, about "
            f"{spec.weights.size_bytes / 1e6:,.0f} MB on disk\n"
            f"- **Input:** {spec.input_size} × {spec.input_size} pixels, "
            f"{PREPROCESSING_DESCRIPTIONS[spec.preprocessing]}\n"
            f"- **Time:** median of {len(result.runs)} runs of the loaded network; the slowest "
            f"took {1000 * max(result.runs):.0f} ms"
        )
        if limits := scope(spec):
            st.caption(escape(limits))


def describe_accuracy(accuracy: Accuracy | None) -> str:
    """Says how often a network was right, on what, and who says so."""
    if accuracy is None:
        return "no published figure at hand"
    among_five = f", {accuracy.top5:.1f} % among five" if accuracy.top5 else ""
    source = accuracy.test_set
    if accuracy.source.startswith("http"):
        source = f"[{source}]({accuracy.source})"
    return f"{accuracy.top1:.1f} % first{among_five} ({source})"
