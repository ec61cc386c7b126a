"""The Compare page: several models, one photo."""

from __future__ import annotations

import streamlit as st

from vgg_demo.analysis.comparison import Comparison
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.compare.agreement import describe_agreement, show_agreement
from vgg_demo.ui.compare.costs import show_costs
from vgg_demo.ui.compare.model_cards import show_cards
from vgg_demo.ui.compare.model_sets import choose_models
from vgg_demo.ui.components.code_snippets import (
    compare_request,
    describe_model_limit,
    describe_photo_folder,
    describe_private_models,
    show_code,
)
from vgg_demo.ui.components.options import choose_settings
from vgg_demo.ui.components.photo_input import (
    ChosenPhoto,
    chosen_photo,
    photo_opener,
    show_examples,
    show_photo_input,
)
from vgg_demo.ui.components.prediction import show_photo
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.browser import announce, scroll_into_view
from vgg_demo.ui.session.visitor import visitor_id


def main() -> None:
    st.title("Compare models on one photo", anchor=False)
    st.markdown(
        "See where models agree, how far apart their predictions are, and how fast each one is on "
        "this machine."
    )
    upload_column, model_column = st.columns([5, 6], gap="medium")
    with upload_column:
        show_photo_input()
    with model_column:
        show_examples()
        specs = choose_models()
        photo = chosen_photo()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            is_comparing = show_start_button(photo, specs)
            cancel_place = st.empty()
            resize, top = choose_settings()
            file = photo.file if photo is not None else "photo.jpg"
            request = compare_request(file, specs, resize, top)
            show_code(
                request,
                describe_photo_folder(photo),
                describe_model_limit(specs),
                warning=describe_private_models(specs),
            )
    if is_comparing:
        cancel_place.button("Cancel", icon=":material/stop_circle:", on_click=cancel)
    # Stops downloads that are no longer needed: the comparison was canceled, the model
    # deselected, or the photo removed.
    caches.get_downloads().cancel_others(specs if is_comparing else (), visitor_id())
    scroll_into_view(photo.sha256 if photo and is_comparing else "")
    live_region = st.container()
    text = ""
    if photo is None:
        st.caption("Results appear here. Start with an example or your own photo.")
    elif len(specs) < 2:
        st.caption("Results appear here. Select at least two models to start.")
    elif not is_comparing:
        st.caption(f"Results appear here. Click “Compare {len(specs)} models” to start.")
    else:
        text, is_waiting = show_comparison(photo, specs, resize, top)
        if not is_waiting:
            cancel_place.empty()
    with live_region:
        announce(text)


def show_start_button(photo: ChosenPhoto | None, specs: list[ModelSpec]) -> bool:
    """Shows the start button. Returns whether a comparison should be displayed."""
    reason = ""
    if photo is None:
        reason = "Choose a photo first."
    elif len(specs) < 2:
        reason = "Select at least two models."
    is_comparing = not reason and bool(st.session_state.get("comparing"))
    st.button(
        f"Compare {len(specs)} models" if len(specs) > 1 else "Compare",
        type="primary",
        icon=":material/compare:",
        on_click=start,
        disabled=bool(reason) or is_comparing,
        key="compare",
        help=reason or None,
    )
    return is_comparing


def start() -> None:
    st.session_state["comparing"] = True


def cancel() -> None:
    """Ends the comparison; no more models are run."""
    st.session_state["comparing"] = False


def show_comparison(
    photo: ChosenPhoto, specs: list[ModelSpec], resize: Resize, top: int
) -> tuple[str, bool]:
    """Shows the photo and the results of all models.

    Returns:
        A summary for screen readers, and whether downloads are still running.
    """
    open_photo = photo_opener(photo)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        if not show_photo(photo, open_photo):
            return "This photo cannot be used", False
    with right:
        agreement_place = st.container()
        progress = st.empty()
    cards = show_cards(photo, specs, resize, top, open_photo, progress)
    comparison = Comparison.of(cards.outcomes)
    with agreement_place:
        show_agreement(comparison, top, cards.class_colors)
    show_costs(comparison, photo, resize)
    return "" if cards.is_waiting else describe_agreement(comparison), cards.is_waiting


main()
