"""A photo and its prediction: verdict, chart, downloads and details."""

from __future__ import annotations

import json
from collections.abc import Callable

import streamlit as st
from PIL import Image

from vgg_demo.analysis.verdict import Verdict, describe_classes, headline, interpret, one_line
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
    GROUP_RULE,
    MARGIN_RULE,
    PREPROCESSING_DESCRIPTIONS,
    RESIZE_DESCRIPTIONS,
    SPREAD_RULE,
    describe_unverified,
    describe_verified,
)
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.browser import announce, scroll_into_view
from vgg_demo.ui.theme import text_color


def show_result(
    photo: ChosenPhoto | None, spec: ModelSpec, resize: Resize, top: int
) -> Classification | None:
    """Shows the photo and its prediction, or an empty state if there is no photo.

    Returns:
        The displayed result, or None. It may be from Mini-VGG if the given model failed.
    """
    # These two components are rendered in the same place on every run, because screen readers
    # announce only changes to an element that already exists.
    scroll_into_view(photo.sha256 if photo else "")
    live_region = st.container()
    if photo is None:
        st.caption("Results appear here. Start with an example or your own photo.")
        with live_region:
            announce("")
        return None

    open_photo = photo_opener(photo)
    left, right = st.columns([5, 6], gap="medium")
    with left:
        if not show_photo(photo, open_photo):
            return None
    with right:
        result = classify_or_fall_back(photo, spec, resize, open_photo)
        if result is None:
            return None
        verdict = show_verdict(result)
        show_predictions(result, top)
        show_downloads(photo, open_photo, result, top)
        st.page_link(
            "compare.py",
            label="Compare models on this photo",
            icon=":material/compare:",
        )
        show_details(photo, open_photo, result)
    with live_region:
        announce(one_line(verdict))
    return result


def show_photo(photo: ChosenPhoto, open_photo: Callable[[], Photo]) -> bool:
    """Shows the photo, or an error if it cannot be decoded. Returns whether it was decoded."""
    try:
        image = caches.get_display_copy(photo.sha256, open_photo)
    except ImageError as error:
        st.error(escape(error), title="This photo cannot be used", icon=":material/broken_image:")
        return False
    st.image(image, alt=photo.description)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            " · ".join(part for part in (escape(photo.file), photo.credit) if part),
            width="stretch",
        )
        st.button("Remove", type="tertiary", icon=":material/close:", on_click=remove_photo)
    return True


def classify_or_fall_back(
    photo: ChosenPhoto, spec: ModelSpec, resize: Resize, open_photo: Callable[[], Photo]
) -> Classification | None:
    """Classifies the photo; if the model cannot be loaded, shows why and uses Mini-VGG instead.

    Custom models have no fallback, because no other model has their classes.

    Returns:
        The result, or None if the photo could not be classified.
    """
    is_loaded, name = caches.get_store().is_loaded(spec), escape(spec.keras_name)
    try:
        with st.spinner(
            "Classifying …" if is_loaded else f"Loading {name} …",
            show_time=True,
        ):
            return caches.get_result(photo.sha256, photo.file, spec, resize, open_photo)
    except ModelError as error:
        has_fallback = not spec.is_embedded and spec.custom is None
        fallback_note = " The small built-in Mini-VGG is used instead." if has_fallback else ""
        st.error(
            escape(error) + fallback_note, title=f"{name} is unavailable", icon=":material/error:"
        )
        if not has_fallback:
            return None
        return classify_or_fall_back(photo, get_spec(EMBEDDED_MODEL), resize, open_photo)
    except VggDemoError as error:
        st.error(
            escape(error), title=f"{name} could not classify this photo", icon=":material/error:"
        )
        return None


def show_verdict(result: Classification) -> Verdict:
    """Shows the headline, the model's name, warnings and the model's scope."""
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
        st.badge(
            f"Predicted by {escape(spec.keras_name)}", icon=":material/neurology:", color="blue"
        )
        show_warning_badges(verdict, result)
        with st.popover("How sure?", type="tertiary"):
            explain_certainty(verdict)
    if limits := describe_classes(spec):
        st.caption(f":material/info: {escape(limits)}")
    return verdict


def show_warning_badges(verdict: Verdict, result: Classification) -> None:
    """Shows a badge if the weights are unverified, and one if the prediction is not sure."""
    spec = result.spec
    if not result.weights.verified:
        st.badge(
            "Unverified weights",
            icon=":material/gpp_maybe:",
            color="orange",
            help=f"{result.weights.file} {describe_unverified(spec)}.",
        )
    if not verdict.is_sure:
        label = "Not sure which one" if verdict.group else "Not sure"
        st.badge(label, icon=":material/help:", color="orange")


def explain_certainty(verdict: Verdict) -> None:
    """Shows the rules for a sure prediction, and this prediction's values."""
    if verdict.threshold is not None:
        st.markdown(
            f"This model counts as sure at {format_percent(verdict.threshold)} or more. You can "
            "change the threshold of your own models on the Train page. This photo: "
            f"{format_percent(verdict.probability)}."
        )
        return
    group = (
        f"{percent(verdict.group.probability)} for “{escape(verdict.group.label)}”"
        if verdict.group
        else "no class or group"
    )
    if verdict.is_sure:
        result = "sure"
    else:
        result = "sure of the group, not of the class" if verdict.group else "not sure"
    st.markdown(
        "The model counts as sure if all three are true:\n\n"
        f"- {GROUP_RULE} This photo: {group}.\n"
        f"- {MARGIN_RULE} This photo: {100 * verdict.certainty.margin:.0f} points.\n"
        f"- {SPREAD_RULE} This photo: {verdict.certainty.effective_classes:.1f} classes.\n\n"
        f"Result: **{result}**."
    )


def format_percent(probability: float) -> str:
    """Returns a probability in percent, rounded to one decimal: "50%" or "96.4%"."""
    return f"{probability:.1%}".replace(".0%", "%")


def show_predictions(result: Classification, top: int) -> None:
    """Shows the top predictions as a chart and a table."""
    labels = result.spec.classes
    predictions = result.predictions(top)
    frame = charts.predictions_frame(predictions, labels)
    st.altair_chart(
        charts.predictions_chart(frame, text_color=text_color()), alt=describe_chart(predictions)
    )
    with st.expander("Show as table"):
        columns = {
            "Class": list(map(escape, frame["label"])),
            "Probability": [f"{value:.2%}" for value in frame["probability"]],
        }
        if result.spec.custom is None:
            columns |= {
                "WordNet ID": frame["wnid"].tolist(),
                "Definition": frame["definition"].tolist(),
            }
        st.table(
            columns,
            border="horizontal",
            alt="The most probable classes with their probabilities and definitions",
        )


def describe_chart(predictions: tuple[Prediction, ...]) -> str:
    """Returns the alternative text of a predictions chart."""
    classes = ", ".join(
        f"{prediction.label} {prediction.probability:.1%}" for prediction in predictions
    )
    return f"Bar chart of the top {len(predictions)} predictions: {classes}"


def show_downloads(
    photo: ChosenPhoto, open_photo: Callable[[], Photo], result: Classification, top: int
) -> None:
    """Shows the buttons that download the annotated photo and the receipt."""
    stem = photo.file.rsplit(".", 1)[0]

    def annotated() -> bytes:
        return to_png(annotate(open_photo().image, result))

    def receipt() -> str:
        return json.dumps(make_receipt(result, top), indent=2, ensure_ascii=False)

    with st.container(horizontal=True):
        st.download_button(
            "Annotated photo",
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
            help="A JSON file that records how this result was computed. "
            "Check it with `vgg-demo verify RECEIPT PHOTO`.",
        )


def show_details(
    photo: ChosenPhoto, open_photo: Callable[[], Photo], result: Classification
) -> None:
    """Shows the model's input, the preprocessing, the timing and the weights in an expander."""
    details = st.expander("What the model sees", icon=":material/visibility:", on_change="rerun")
    if not details.open:
        return
    spec, resize = result.spec, Resize(result.resize)
    with details:
        model_input = caches.get_model_input(photo.sha256, spec, resize, open_photo)
        preview, properties = st.columns([2, 3], gap="medium")
        preview.image(
            model_input.resize((224, 224), Image.Resampling.NEAREST)
            if spec.input_size < 224
            else model_input,
            width="stretch",
            alt=f"The photo as {spec.input_size} by {spec.input_size} pixels",
        )
        verified = describe_verified(spec) if result.weights.verified else describe_unverified(spec)
        properties.markdown(
            f"- **Input:** {spec.input_size} × {spec.input_size} pixels\n"
            f"- **Resize method:** {resize}: {RESIZE_DESCRIPTIONS[resize]}\n"
            f"- **Pixel values:** {PREPROCESSING_DESCRIPTIONS[spec.preprocessing]}\n"
            f"- **Time:** decoding {1000 * result.seconds.decode:.1f} ms, preprocessing "
            f"{1000 * result.seconds.prepare:.1f} ms, inference "
            f"{1000 * result.seconds.inference:.1f} ms\n"
            f"- **Weights:** `{result.weights.file}` {verified}\n"
            f"- **Precision:** {result.precision}"
        )
