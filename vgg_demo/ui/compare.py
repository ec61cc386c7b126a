"""The page that lets several networks answer the same photo."""

from __future__ import annotations

import functools

import streamlit as st

from vgg_demo.compare import Comparison
from vgg_demo.errors import ImageError
from vgg_demo.photo import Photo, open_photo
from vgg_demo.preprocess import Resize
from vgg_demo.registry import ModelSpec
from vgg_demo.ui import shared
from vgg_demo.ui.agreement import agreement_words, show_agreement
from vgg_demo.ui.answer_cards import show_cards
from vgg_demo.ui.costs import show_costs
from vgg_demo.ui.live import say, scroll_here
from vgg_demo.ui.model_set import choose_models
from vgg_demo.ui.photo_input import ChosenPhoto, chosen, offer_examples, offer_own, remove_photo
from vgg_demo.ui.settings_choice import choose_settings


def main() -> None:
    st.title("Do other networks see the same?", anchor=False)
    st.markdown(
        "Let several networks answer one photo: where they agree, how far apart they are, and "
        "what each costs on this machine."
    )
    own, others = st.columns([5, 6], gap="medium")
    with own:
        offer_own()
    with others:
        offer_examples()
        specs = choose_models()
        photo = chosen()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            comparing = offer_start(photo, specs)
            cancelling = st.empty()
            policy, top = choose_settings()
    if comparing:
        cancelling.button("Cancel", icon=":material/stop_circle:", on_click=cancel)
    scroll_here(photo.sha256 if photo and comparing else "")
    spoken = st.container()
    words = ""
    if photo is None:
        st.caption("The answers will stand here. Start with an example, or with a photo of yours.")
    elif not comparing:
        st.caption("The answers will stand here, one after the other, once you press Compare.")
    else:
        words, waiting = show_comparison(photo, specs, policy, top)
        if not waiting:
            cancelling.empty()
    with spoken:
        say(words)


def offer_start(photo: ChosenPhoto | None, specs: list[ModelSpec]) -> bool:
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
    st.session_state["comparing"] = False


def show_comparison(
    photo: ChosenPhoto, specs: list[ModelSpec], policy: Resize, top: int
) -> tuple[str, bool]:
    """Shows the photo and all that is made of it.

    Returns:
        It in a sentence, and whether answers are still waited for.
    """

    @functools.cache
    def opened() -> Photo:
        return open_photo(photo.data, file=photo.file, limits=shared.get_settings().limits)

    left, right = st.columns([2, 5], gap="medium")
    with left:
        try:
            st.image(shared.get_display_copy(photo.sha256, opened), alt=photo.description)
        except ImageError as error:
            st.error(
                shared.escape(error),
                title="This photo cannot be used",
                icon=":material/broken_image:",
            )
            return "This photo cannot be used", False
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            parts = (shared.escape(photo.file), photo.credit)
            st.caption(" · ".join(part for part in parts if part), width="stretch")
            st.button("Remove", type="tertiary", icon=":material/close:", on_click=remove_photo)
    with right:
        together = st.container()
        progress = st.empty()
    outcomes, waiting = show_cards(photo, specs, policy, top, opened, progress)
    comparison = Comparison.of(outcomes)
    with together:
        show_agreement(comparison, top)
    show_costs(comparison, photo)
    return "" if waiting else agreement_words(comparison), waiting


main()
