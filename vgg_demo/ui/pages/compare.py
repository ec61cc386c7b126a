"""The page that lets several networks answer the same photo."""

from __future__ import annotations

import streamlit as st

from vgg_demo.analysis.comparison import Comparison
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.compare.agreement import describe_agreement, show_agreement
from vgg_demo.ui.compare.costs import show_costs
from vgg_demo.ui.compare.model_cards import show_cards
from vgg_demo.ui.compare.model_sets import choose_models
from vgg_demo.ui.components.code_snippets import compare_request, describe_private_models, show_code
from vgg_demo.ui.components.options import choose_settings
from vgg_demo.ui.components.photo_input import (
    ChosenPhoto,
    chosen,
    photo_opener,
    show_examples,
    show_photo_input,
)
from vgg_demo.ui.components.prediction import show_photo
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.browser import announce, scroll_here
from vgg_demo.ui.session.visitor import visitor_id


def main() -> None:
    st.title("Do other networks see the same?", anchor=False)
    st.markdown(
        "Let several networks answer one photo: where they agree, how far apart they are, and "
        "what each costs on this machine."
    )
    own, others = st.columns([5, 6], gap="medium")
    with own:
        show_photo_input()
    with others:
        show_examples()
        specs = choose_models()
        photo = chosen()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            comparing = show_start_button(photo, specs)
            cancelling = st.empty()
            resize, top = choose_settings()
            file = photo.file if photo is not None else "photo.jpg"
            request = compare_request(file, specs, resize, top)
            show_code(request, describe_private_models(specs))
    if comparing:
        cancelling.button("Cancel", icon=":material/stop_circle:", on_click=cancel)
    # Downloads for what was cancelled, deselected or removed are given up.
    caches.get_downloads().wait_only_for(specs if comparing else (), visitor_id())
    scroll_here(photo.sha256 if photo and comparing else "")
    spoken = st.container()
    words = ""
    if photo is None:
        st.caption("The answers will stand here. Start with an example, or with a photo of yours.")
    elif not comparing:
        st.caption("The answers will stand here, one after the other, once you press Compare.")
    else:
        words, waiting = show_comparison(photo, specs, resize, top)
        if not waiting:
            cancelling.empty()
    with spoken:
        announce(words)


def show_start_button(photo: ChosenPhoto | None, specs: list[ModelSpec]) -> bool:
    """Offers to begin. Returns whether a comparison is to be shown."""
    reason = ""
    if photo is None:
        reason = "Choose a photo first."
    elif len(specs) < 2:
        reason = "Choose two networks or more."
    comparing = not reason and bool(st.session_state.get("comparing"))
    st.button(
        f"Compare {len(specs)} networks" if len(specs) > 1 else "Compare",
        type="primary",
        icon=":material/compare:",
        on_click=start,
        disabled=bool(reason) or comparing,
        key="compare",
        help=reason or None,
    )
    return comparing


def start() -> None:
    st.session_state["comparing"] = True


def cancel() -> None:
    """Asks no further models."""
    st.session_state["comparing"] = False


def show_comparison(
    photo: ChosenPhoto, specs: list[ModelSpec], resize: Resize, top: int
) -> tuple[str, bool]:
    """Shows the photo and all that is made of it.

    Returns:
        It in a sentence, and whether answers are still waited for.
    """
    opened = photo_opener(photo)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        if not show_photo(photo, opened):
            return "This photo cannot be used", False
    with right:
        together = st.container()
        progress = st.empty()
    cards = show_cards(photo, specs, resize, top, opened, progress)
    comparison = Comparison.of(cards.outcomes)
    with together:
        show_agreement(comparison, top, cards.class_colors)
    show_costs(comparison, photo, resize)
    return "" if cards.are_waiting else describe_agreement(comparison), cards.are_waiting


main()
