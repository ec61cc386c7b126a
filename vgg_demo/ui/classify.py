"""The main page: a photo in, a verdict out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import streamlit as st
from PIL import Image

from vgg_demo import charts
from vgg_demo.annotate import annotate, to_png
from vgg_demo.downloads import Status
from vgg_demo.errors import ImageError, VggDemoError
from vgg_demo.examples import Example, load_examples
from vgg_demo.images import SUFFIXES, decode
from vgg_demo.labels import load_labels, with_article
from vgg_demo.preprocess import Resize
from vgg_demo.receipt import make_receipt
from vgg_demo.registry import DEFAULT_MODEL, EMBEDDED_MODEL, MODELS, ModelSpec, get_spec
from vgg_demo.results import Classification
from vgg_demo.ui import shared
from vgg_demo.verdict import (
    GROUP_THRESHOLD,
    MAX_EFFECTIVE_CLASSES,
    MIN_MARGIN,
    Verdict,
    give_verdict,
)
from vgg_demo.weights import how_to_place

RESIZE_NAMES = {
    "Crop": Resize.CROP,
    "Squash": Resize.SQUASH,
    "Pad": Resize.PAD,
}
RESIZE_WORDS = {
    Resize.CROP: "the centre is cut out; the edges are lost",
    Resize.SQUASH: "everything is pressed into the square; shapes are distorted",
    Resize.PAD: "the whole photo with grey bars; things get smaller",
}

PREPROCESSING_WORDS = {
    "caffe": "blue, green, red, each minus ImageNet's mean",
    "tf": "scaled to −1 … 1",
    "torch": "scaled by ImageNet's mean and deviation",
    "none": "as they are; the network scales them itself",
}


@dataclass(frozen=True, slots=True)
class Photo:
    """The photo that the visitor is looking at. Lives in the session, nowhere else."""

    file: str
    data: bytes
    description: str
    credit: str = ""
    source: str = ""
    """Key of the widget that it came through; empty for an example."""


def main() -> None:
    st.title("What does VGG16 see in your photo?", anchor=False)
    st.markdown(
        "Give a photo. A neural network says what is on it, how sure it is, and what it really "
        "looked at."
    )
    choose_photo()
    photo: Photo | None = st.session_state.get("photo")
    spec, policy, top = choose_settings()
    answering = announce_model(spec)
    if photo is None:
        st.caption("The answer will stand here. Start with an example, or with a photo of yours.")
        return
    show_result(photo, answering, policy, top)


def choose_photo() -> None:
    own, examples = st.columns([5, 6], gap="medium")
    with own:
        source = st.segmented_control(
            "Your photo", ["Upload", "Camera"], default="Upload", key="source", required=True
        )
        if source == "Camera":
            st.camera_input(
                "Take a photo",
                key="camera",
                on_change=take_upload,
                args=("camera",),
                label_visibility="collapsed",
            )
        else:
            st.file_uploader(
                "Upload a photo",
                type=list(SUFFIXES),
                key="upload",
                on_change=take_upload,
                args=("upload",),
                label_visibility="collapsed",
            )
        st.caption(
            ":material/lock: Your photo stays in this server's memory while this tab is open. "
            "It is never written to disk or passed on."
        )
    with examples:
        st.markdown("Or try one of these", text_alignment="left")
        with st.grid(6, min_column_width=78, gap="small"):
            for example in load_examples():
                with st.container(gap="xsmall"):
                    st.image(thumbnail(example.file), width="stretch", alt=example.description)
                    st.button(
                        example.title,
                        key=f"example-{example.file}",
                        width="stretch",
                        on_click=take_example,
                        args=(example,),
                    )


@st.cache_data(show_spinner=False)
def thumbnail(file: str) -> Image.Image:
    """Returns a bundled photo, cut to the shape of the buttons."""
    (example,) = (example for example in load_examples() if example.file == file)
    image = decode(example.read())
    width, height = 300, 190
    scale = max(width / image.width, height / image.height)
    box_width, box_height = width / scale, height / scale
    left, upper = (image.width - box_width) / 2, (image.height - box_height) / 2
    return image.resize((width, height), box=(left, upper, left + box_width, upper + box_height))


def take_upload(key: str) -> None:
    uploaded = st.session_state[key]
    if uploaded is not None:
        st.session_state["photo"] = Photo(
            file=uploaded.name,
            data=uploaded.getvalue(),
            description=f"Your photo {uploaded.name}",
            source=key,
        )
    elif "photo" in st.session_state and st.session_state["photo"].source == key:
        del st.session_state["photo"]  # taken back by the visitor


def take_example(example: Example) -> None:
    st.session_state["photo"] = Photo(
        file=example.file,
        data=example.read(),
        description=example.description,
        credit=f"Photo: {example.author}, {example.licence}",
    )


def choose_settings() -> tuple[ModelSpec, Resize, int]:
    model, policy, top = st.columns([4, 3, 4], gap="medium", vertical_alignment="bottom")
    with model:
        spec = choose_model()
    with policy:
        name = st.segmented_control(
            "Make it square by",
            list(RESIZE_NAMES),
            default="Crop",
            required=True,
            key="resize",
            bind="query-params",
            help="Networks look at squares. "
            + " ".join(
                f"**{name}**: {RESIZE_WORDS[value]}." for name, value in RESIZE_NAMES.items()
            ),
        )
    with top:
        count = st.slider("Answers shown", 1, 10, 5, key="top", bind="query-params")
    return spec, RESIZE_NAMES.get(name or "Crop", Resize.CROP), min(max(count, 1), 10)


def choose_model() -> ModelSpec:
    """Offers what is on this machine first, then what can be downloaded.

    The URL holds the model's name as on the command line; a bound widget would write what
    the list shows. What the list shows of a model never changes, or Streamlit would lose
    the choice when a model arrives.
    """
    names = sorted(
        MODELS, key=lambda name: (name != DEFAULT_MODEL, not shared.is_here(MODELS[name]))
    )

    def describe(name: str) -> str:
        return f"{MODELS[name].keras_name} ({MODELS[name].weights.size_bytes / 1e6:,.0f} MB)"

    def write_url() -> None:
        st.query_params["model"] = st.session_state["model"]

    name = st.selectbox(
        "Model",
        names,
        index=names.index(named_in_url()),
        format_func=describe,
        key="model",
        on_change=write_url,
        help="First VGG16, then what else is on this machine, then what can be downloaded.",
    )
    return MODELS.get(name or DEFAULT_MODEL, MODELS[DEFAULT_MODEL])


def named_in_url() -> str:
    try:
        return get_spec(st.query_params.get("model", DEFAULT_MODEL)).name
    except VggDemoError as error:
        st.warning(escape(str(error)), icon=":material/link_off:")
        return DEFAULT_MODEL


def announce_model(spec: ModelSpec) -> ModelSpec:
    """Says which model answers, and why it may not be the chosen one. Returns that model."""
    if shared.is_here(spec):
        if st.session_state.pop("waited_for", None) == spec.name:
            st.toast(
                f"{spec.keras_name} is ready and answers from now on.", icon=":material/check:"
            )
        return spec
    downloads = shared.get_downloads()
    if spec.name == DEFAULT_MODEL and not shared.get_settings().offline and not downloads.get(spec):
        downloads.start(spec)
    download = downloads.get(spec)
    if download is not None and download.status is Status.RUNNING:
        st.session_state["waited_for"] = spec.name
        show_download(spec)
    else:
        offer_download(spec, download.error if download else "")
    return get_spec(EMBEDDED_MODEL)


@st.fragment(run_every=1.0)
def show_download(spec: ModelSpec) -> None:
    download = shared.get_downloads().get(spec)
    if download is None or download.status is not Status.RUNNING:
        st.rerun(scope="app")
    with st.container(border=True):
        st.markdown(
            f"**{spec.keras_name} is being fetched.** Until it is here, the small built-in "
            "Mini-VGG answers."
        )
        progress = download.progress
        if progress is None:
            st.progress(0.0, text="Asking the server …")
            return
        remaining = progress.remaining_seconds
        st.progress(
            progress.fraction,
            text=f"{progress.received_bytes / 1e6:,.0f} of {progress.total_bytes / 1e6:,.0f} MB, "
            f"{progress.bytes_per_second / 1e6:.1f} MB/s"
            + (f", {remaining:.0f} s left" if remaining is not None else ""),
        )


def offer_download(spec: ModelSpec, error: str) -> None:
    """Says why a model is not here and what to do about it."""
    settings = shared.get_settings()
    with st.container(border=True):
        st.markdown(
            f"**{spec.keras_name} is not on this machine**, so the small built-in Mini-VGG "
            "answers. It knows ten things only."
        )
        if error:
            st.markdown(f":material/cloud_off: {error}")
        elif settings.offline:
            st.markdown(
                ":material/cloud_off: Downloading is switched off here. "
                + how_to_place(spec, settings)
            )
        if not settings.offline:
            st.button(
                "Try again" if error else f"Download {spec.weights.size_bytes / 1e6:,.0f} MB",
                icon=":material/download:",
                on_click=shared.get_downloads().start,
                args=(spec,),
            )


def show_result(photo: Photo, spec: ModelSpec, policy: Resize, top: int) -> None:
    left, right = st.columns([5, 6], gap="medium")
    with left:
        try:
            st.image(shared.get_display_copy(photo.data), alt=photo.description)
        except ImageError as error:
            st.error(str(error), title="This photo cannot be used", icon=":material/broken_image:")
            return
        st.caption(" · ".join(part for part in (escape(photo.file), photo.credit) if part))
    with right:
        try:
            waiting = "Looking …" if shared.get_store().is_loaded(spec) else loading_words(spec)
            with st.spinner(waiting, show_time=True):
                result = shared.get_result(photo.data, photo.file, spec, policy)
        except VggDemoError as error:
            st.error(str(error), title=f"{spec.keras_name} cannot answer", icon=":material/error:")
            return
        show_verdict(result, spec)
        show_predictions(result, spec, top)
        take_away(photo, result, top)
        show_details(photo, result, spec, policy)


def loading_words(spec: ModelSpec) -> str:
    return f"Loading {spec.keras_name}, once for all visitors …"


def show_verdict(result: Classification, spec: ModelSpec) -> None:
    verdict = give_verdict(result)
    headline, detail = verdict_sentences(verdict)
    with st.container(gap="xsmall"):
        st.header(headline, anchor=False)
        if detail:
            st.subheader(detail, anchor=False)
        st.markdown(f"*{_capital(verdict.winner.label)}*: {verdict.winner.definition}.")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(f"{spec.keras_name}'s answer", icon=":material/neurology:", color="blue")
        if not result.weights.verified:
            st.badge(
                "Unverified weights",
                icon=":material/gpp_maybe:",
                color="orange",
                help=f"{result.weights.file}: {unverified_words(spec)}.",
            )
        if not verdict.is_sure:
            show_doubt(verdict)
    if spec.is_embedded:
        names = ", ".join(label.label for label in load_labels(spec.labels))
        st.caption(
            f":material/info: {spec.keras_name} knows ten things only: {names}. "
            "Whatever you show it, it answers with one of them."
        )


def verdict_sentences(verdict: Verdict) -> tuple[str, str]:
    """Returns the headline and the line under it.

    The headline is as specific as the probabilities allow: the group that reaches the
    threshold, or the winner where no group does.
    """
    winner = with_article(verdict.winner.label)
    group = verdict.group
    if group is not None and group.wnid == verdict.winner.wnid:
        return f"{_capital(winner)}, {verdict.probability:.0%}", ""
    likely = "most likely" if verdict.is_sure else "perhaps"
    if group is not None:
        return (
            f"{_capital(with_article(group.label))}, {group.probability:.0%}",
            f"{likely} {winner}, {verdict.probability:.0%}",
        )
    return f"Not sure – perhaps {winner}, {verdict.probability:.0%}", ""


def show_doubt(verdict: Verdict) -> None:
    label = "Unsure which one" if verdict.group else "Unsure"
    st.badge(label, icon=":material/help:", color="orange")
    with st.popover("Why?", type="tertiary"):
        st.markdown(
            f"The first answer has a lead of {100 * verdict.certainty.margin:.0f} points over the "
            "second, and the probability is spread as if over "
            f"{verdict.certainty.effective_classes:.1f} equally likely things.\n\n"
            f"The network counts as sure when some kind of thing adds up to "
            f"{GROUP_THRESHOLD:.0%} or more (the headline names the most specific one), the lead "
            f"is at least {100 * MIN_MARGIN:.0f} points and the spread at most "
            f"{MAX_EFFECTIVE_CLASSES:.0f} things."
        )


def show_predictions(result: Classification, spec: ModelSpec, top: int) -> None:
    predictions = result.predictions(top)
    frame = charts.predictions_frame(predictions, load_labels(spec.labels))
    best = predictions[0]
    st.altair_chart(
        charts.top_chart(frame),
        alt=f"The {len(predictions)} most probable answers, first {best.label} "
        f"with {best.probability:.0%}",
    )
    with st.expander("The same as a table"):
        st.table(
            {
                "Answer": frame["label"].tolist(),
                "Probability": [f"{value:.2%}" for value in frame["probability"]],
                "WordNet ID": frame["wnid"].tolist(),
                "Meaning": frame["definition"].tolist(),
            },
            border="horizontal",
            alt="The most probable answers with their probabilities and meanings",
        )


def take_away(photo: Photo, result: Classification, top: int) -> None:
    stem = photo.file.rsplit(".", 1)[0]

    def annotated() -> bytes:
        return to_png(annotate(decode(photo.data, shared.get_settings().limits), result))

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
            "`python -m vgg_demo verify RECEIPT PHOTO` checks it.",
        )


def show_details(photo: Photo, result: Classification, spec: ModelSpec, policy: Resize) -> None:
    details = st.expander("What the network saw", icon=":material/visibility:", on_change="rerun")
    if not details.open:
        return
    with details:
        seen = shared.get_network_input(photo.data, spec, policy)
        picture, facts = st.columns([2, 3], gap="medium")
        picture.image(
            seen.resize((224, 224), Image.Resampling.NEAREST) if spec.input_size < 224 else seen,
            width="stretch",
            alt=f"The photo as {spec.input_size} by {spec.input_size} pixels",
        )
        verified = "the published file" if result.weights.verified else unverified_words(spec)
        facts.markdown(
            f"- **Input:** {spec.input_size} × {spec.input_size} pixels; {RESIZE_WORDS[policy]}\n"
            f"- **Pixels:** {PREPROCESSING_WORDS[spec.preprocessing]}\n"
            f"- **Decoded** in {1000 * result.seconds.decode:.1f} ms, **prepared** in "
            f"{1000 * result.seconds.prepare:.1f} ms, **answered** in "
            f"{1000 * result.seconds.inference:.1f} ms\n"
            f"- **Weights:** `{result.weights.file}`, {verified}\n"
            f"- **Precision:** {result.precision}"
        )


def unverified_words(spec: ModelSpec) -> str:
    if not spec.weights.hash:
        return "Keras publishes no hash of this file, so it cannot be checked"
    return "not the published file; its hash differs"


def escape(text: str) -> str:
    """Keeps Markdown from reading what a stranger wrote: a file name, a word in the URL."""
    return re.sub(r"([\\`*_{}\[\]<>#$~:|])", r"\\\1", text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


main()
