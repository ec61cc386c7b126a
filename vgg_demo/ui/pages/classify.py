"""The Classify page: one photo, one model, one verdict."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.components.code_snippets import (
    classify_request,
    describe_photo_folder,
    describe_private_models,
    show_code,
)
from vgg_demo.ui.components.model_picker import choose_model, show_model_status
from vgg_demo.ui.components.options import choose_settings
from vgg_demo.ui.components.photo_input import chosen_photo, show_examples, show_photo_input
from vgg_demo.ui.components.prediction import show_result
from vgg_demo.ui.markdown import escape


def main() -> None:
    title = st.empty()
    st.markdown(
        "Upload a photo to see what the model recognizes in it, how sure it is, and the exact "
        "pixels it receives."
    )
    left, right = st.columns([5, 6], gap="medium")
    with left:
        show_photo_input()
    with right:
        show_examples()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            spec = choose_model()
            resize, top = choose_settings()
            photo = chosen_photo()
            file = photo.file if photo is not None else "photo.jpg"
            request = classify_request(file, spec, resize, top)
            show_code(
                request, describe_photo_folder(photo), warning=describe_private_models([spec])
            )
    active = show_model_status(spec)
    write_title(title, active)
    result = show_result(photo, active, resize, top)
    if result is not None and result.model != active.name:
        write_title(title, result.spec)


def write_title(place: DeltaGenerator, spec: ModelSpec) -> None:
    """Writes the title with the name of the model that makes the prediction."""
    place.title(f"What does {escape(spec.keras_name)} see in your photo?", anchor=False)


main()
