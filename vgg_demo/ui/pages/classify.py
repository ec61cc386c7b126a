"""The main page: a photo in, a verdict out."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.components.code_snippets import (
    classify_request,
    describe_private_models,
    show_code,
)
from vgg_demo.ui.components.model_picker import announce_model, choose_model
from vgg_demo.ui.components.options import choose_settings
from vgg_demo.ui.components.photo_input import chosen, show_examples, show_photo_input
from vgg_demo.ui.components.prediction import show_result
from vgg_demo.ui.markdown import escape


def main() -> None:
    title = st.empty()
    st.markdown(
        "Give a photo. A neural network says what is on it and how sure it is, and shows the very "
        "pixels that it saw."
    )
    own, others = st.columns([5, 6], gap="medium")
    with own:
        show_photo_input()
    with others:
        show_examples()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            spec = choose_model()
            resize, top = choose_settings()
            photo = chosen()
            file = photo.file if photo is not None else "photo.jpg"
            request = classify_request(file, spec, resize, top)
            show_code(request, describe_private_models([spec]))
    answering = announce_model(spec)
    ask(title, answering)
    result = show_result(photo, answering, resize, top)
    if result is not None and result.model != answering.name:
        ask(title, result.spec)


def ask(place: DeltaGenerator, spec: ModelSpec) -> None:
    """Writes the title, which names the model that really answers."""
    place.title(f"What does {escape(spec.keras_name)} see in your photo?", anchor=False)


main()
