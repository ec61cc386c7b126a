"""What the page shows of a result."""

from __future__ import annotations

import json
from collections.abc import Callable

import streamlit as st
from PIL import Image

from vgg_demo.analysis.verdict import Verdict, headline, interpret, one_line, scope
from vgg_demo.errors import ImageError, ModelError, VggDemoError
from vgg_demo.images.photo import Photo
from vgg_demo.inference.results import Classification, Prediction, percent
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import EMBEDDED_MODEL, ModelSpec, get_spec
from vgg_demo.reports import charts
from vgg_demo.reports.annotate import annotate, to_png
from vgg_demo.reports.receipt import make_receipt
from vgg_demo.ui.components.photo_input import ChosenPhoto, photo_opener, remove_photo
from vgg_demo.ui.components.text import (
    PREPROCESSING_DESCRIPTIONS,
    RESIZE_DESCRIPTIONS,
    SURE_GROUP,
    SURE_MARGIN,
    SURE_SPREAD,
    describe_unverified,
    describe_verified,
)
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.browser import announce, scroll_here
from vgg_demo.ui.theme import text_color


def show_result(
    photo: ChosenPhoto | None, spec: ModelSpec, resize: Resize, top: int
) -> Classification | None:
    """Shows a photo and what a model makes of it, or an invitation where there is none.

    Returns:
        The result that is shown; another model's where the given one could not answer.
    """
    # Both stay in their places on every run: a screen reader follows what it knows.
    scroll_here(photo.sha256 if photo else "")
    spoken = st.container()
    if photo is None:
        st.caption("The answer will stand here. Start with an example, or with a photo of yours.")
        with spoken:
            announce("")
        return None

    opened = photo_opener(photo)
    left, right = st.columns([5, 6], gap="medium")
    with left:
        if not show_photo(photo, opened):
            return None
    with right:
        result = answer(photo, spec, resize, opened)
        if result is None:
            return None
        verdict = show_verdict(result)
        show_predictions(result, top)
        show_downloads(photo, opened, result, top)
        st.page_link(
            "compare.py",
            label="See what other networks make of it",
            icon=":material/compare:",
        )
        show_details(photo, opened, result)
    with spoken:
        announce(one_line(verdict))
    return result


def show_photo(photo: ChosenPhoto, opened: Callable[[], Photo]) -> bool:
    """Shows the photo, or why it cannot be used. Returns whether it can."""
    try:
        copy = caches.get_display_copy(photo.sha256, opened)
    except ImageError as error:
        st.error(escape(error), title="This photo cannot be used", icon=":material/broken_image:")
        return False
    st.image(copy, alt=photo.description)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            " · ".join(part for part in (escape(photo.file), photo.credit) if part),
            width="stretch",
        )
        st.button("Remove", type="tertiary", icon=":material/close:", on_click=remove_photo)
    return True


def answer(
    photo: ChosenPhoto, spec: ModelSpec, resize: Resize, opened: Callable[[], Photo]
) -> Classification | None:
    """Asks a model. Where it cannot answer, says why and asks the built-in one."""
    loaded, name = caches.get_store().is_loaded(spec), escape(spec.keras_name)
    try:
        with st.spinner(
            "Looking …" if loaded else f"Loading {name}, once for all visitors …",
            show_time=True,
        ):
            return caches.get_result(photo.sha256, photo.file, spec, resize, opened)
    except ModelError as error:
        # Nobody else knows what somebody has taught.
        is_alone = spec.is_embedded or spec.custom is not None
        stands_in = "" if is_alone else " Until then the small built-in Mini-VGG answers."
        st.error(
            escape(error) + stands_in,
            title=f"{name} cannot answer",
            icon=":material/error:",
        )
        return None if is_alone else answer(photo, get_spec(EMBEDDED_MODEL), resize, opened)
    except VggDemoError as error:
        st.error(escape(error), title=f"{name} cannot answer", icon=":material/error:")
        return None


def show_verdict(result: Classification) -> Verdict:
    spec = result.spec
    verdict = interpret(result)
    first, second = map(escape, headline(verdict))
    with st.container(gap="xsmall"):
        st.header(first, anchor=False)
        if second:
            st.subheader(second, anchor=False)
        if verdict.winner.definition:
            st.markdown(f"*{escape(verdict.winner.label)}*: {verdict.winner.definition}.")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(f"{escape(spec.keras_name)}'s answer", icon=":material/neurology:", color="blue")
        show_doubts(verdict, result)
        with st.popover("How sure?", type="tertiary"):
            explain_certainty(verdict)
    if limits := scope(spec):
        st.caption(f":material/info: {escape(limits)}")
    return verdict


def show_doubts(verdict: Verdict, result: Classification) -> None:
    """Marks what keeps an answer from being taken at its word."""
    spec = result.spec
    if not result.weights.verified:
        st.badge(
            "Unverified weights",
            icon=":material/gpp_maybe:",
            color="orange",
            help=f"{result.weights.file}: {describe_unverified(spec)}.",
        )
    if not verdict.is_sure:
        label = "Unsure which one" if verdict.group else "Unsure"
        st.badge(label, icon=":material/help:", color="orange")


def explain_certainty(verdict: Verdict) -> None:
    if verdict.threshold is not None:
        st.markdown(
            f"It counts as **sure** from {verdict.threshold:.1%} on: from 50%, or more where that "
            "was better on photos that it had not learned from, or where who taught it has set "
            f"more on the page Teach. Here: {verdict.probability:.1%}."
        )
        return
    kind = (
        f"{percent(verdict.group.probability)} for “{escape(verdict.group.label)}”"
        if verdict.group
        else "no kind of thing does"
    )
    st.markdown(
        "It counts as **sure** when all three hold:\n\n"
        f"- {SURE_GROUP} Here: {kind}.\n"
        f"- {SURE_MARGIN} Here: {100 * verdict.certainty.margin:.0f}.\n"
        f"- {SURE_SPREAD} Here: {verdict.certainty.effective_classes:.1f}."
    )


def show_predictions(result: Classification, top: int) -> None:
    labels = result.spec.classes
    predictions = result.predictions(top)
    frame = charts.predictions_frame(predictions, labels)
    st.altair_chart(
        charts.top_chart(frame, text_color=text_color()), alt=describe_chart(predictions)
    )
    with st.expander("The same as a table"):
        columns = {
            "Answer": list(map(escape, frame["label"])),
            "Probability": [f"{value:.2%}" for value in frame["probability"]],
        }
        if result.spec.custom is None:
            columns |= {
                "WordNet ID": frame["wnid"].tolist(),
                "Meaning": frame["definition"].tolist(),
            }
        st.table(
            columns,
            border="horizontal",
            alt="The most probable answers with their probabilities and meanings",
        )


def describe_chart(predictions: tuple[Prediction, ...]) -> str:
    answers = ", ".join(f"{p.label} {p.probability:.1%}" for p in predictions)
    return f"Bars of the {len(predictions)} most probable answers: {answers}"


def show_downloads(
    photo: ChosenPhoto, opened: Callable[[], Photo], result: Classification, top: int
) -> None:
    stem = photo.file.rsplit(".", 1)[0]

    def annotated() -> bytes:
        return to_png(annotate(opened().image, result))

    def receipt() -> str:
        return json.dumps(make_receipt(result, top), indent=2, ensure_ascii=False)

    with st.container(horizontal=True):
        st.download_button(
            "Photo with the answer",
            annotated,
            file_name=f"{stem}.{result.model}.png",
            mime="image/png",
            icon=":material/image:",
            on_click="ignore",
        )
        st.download_button(
            "Receipt",
            receipt,
            file_name=f"{stem}.{result.model}.json",
            mime="application/json",
            icon=":material/receipt_long:",
            on_click="ignore",
            help="A JSON file that says how this result came about. "
            "`vgg-demo verify RECEIPT PHOTO` checks it.",
        )


def show_details(photo: ChosenPhoto, opened: Callable[[], Photo], result: Classification) -> None:
    details = st.expander("What the network saw", icon=":material/visibility:", on_change="rerun")
    if not details.open:
        return
    spec, resize = result.spec, Resize(result.resize)
    with details:
        seen = caches.get_network_input(photo.sha256, spec, resize, opened)
        picture, facts = st.columns([2, 3], gap="medium")
        picture.image(
            seen.resize((224, 224), Image.Resampling.NEAREST) if spec.input_size < 224 else seen,
            width="stretch",
            alt=f"The photo as {spec.input_size} by {spec.input_size} pixels",
        )
        verified = describe_verified(spec) if result.weights.verified else describe_unverified(spec)
        facts.markdown(
            f"- **Input:** {spec.input_size} × {spec.input_size} pixels; {RESIZE_DESCRIPTIONS[resize]}\n"
            f"- **Pixels:** {PREPROCESSING_DESCRIPTIONS[spec.preprocessing]}\n"
            f"- **Decoded** in {1000 * result.seconds.decode:.1f} ms, **prepared** in "
            f"{1000 * result.seconds.prepare:.1f} ms, **answered** in "
            f"{1000 * result.seconds.inference:.1f} ms\n"
            f"- **Weights:** `{result.weights.file}`, {verified}\n"
            f"- **Precision:** {result.precision}"
        )
