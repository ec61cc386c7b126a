"""The main page: a photo in, a verdict out."""

from __future__ import annotations

import streamlit as st

from vgg_demo.preprocess import Resize
from vgg_demo.ui.model_choice import announce_model, choose_model
from vgg_demo.ui.photo_input import chosen, offer_examples, offer_own
from vgg_demo.ui.result import RESIZE_WORDS, show_result

RESIZE_NAMES = {
    "Crop": Resize.CROP,
    "Squash": Resize.SQUASH,
    "Pad": Resize.PAD,
}


def main() -> None:
    title = st.container()  # written last: it names the model that really answers
    st.markdown(
        "Give a photo. A neural network says what is on it, how sure it is, and what it really "
        "looked at."
    )
    own, others = st.columns([5, 6], gap="medium")
    with own:
        offer_own()
    with others:
        offer_examples()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            spec = choose_model()
            policy, top = choose_settings()
    answering = announce_model(spec)
    title.title(f"What does {answering.keras_name} see in your photo?", anchor=False)
    show_result(chosen(), answering, policy, top)


def choose_settings() -> tuple[Resize, int]:
    with st.popover("Settings", icon=":material/tune:"):
        count = st.slider("Answers shown", 1, 10, 5, key="top", bind="query-params")
        name = st.segmented_control(
            "Networks look at squares. Make it square by",
            list(RESIZE_NAMES),
            default="Crop",
            required=True,
            key="resize",
            bind="query-params",
        )
        policy = RESIZE_NAMES.get(name or "Crop", Resize.CROP)
        st.caption(f"{name}: {RESIZE_WORDS[policy]}.")
    return policy, min(max(count, 1), 10)


main()
