"""Contact sheet of the training photos: the originals and their augmented views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import streamlit as st
from PIL import Image

from vgg_demo.files.printable import printable
from vgg_demo.images.photo import open_photo
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.training.augmentation import augment
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.training.records import InspectedDataset
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.train.inspection import Inspection

MAX_PHOTOS = 24  # per page of the contact sheet
MAX_AUGMENTED_PHOTOS = 4  # photos of a class whose views are shown
VIEWS = 5

ORIGINALS, AUGMENTED = "Photos", "Augmented views"


def show_contact_sheet(
    inspected: InspectedDataset, inspection: Inspection, spec: ModelSpec, views: int
) -> None:
    """Shows the photos of a class, or their augmented views.

    Args:
        inspected: The photos to train on.
        inspection: The inspection they come from.
        spec: The backbone.
        views: Augmented views per photo in the current settings.
    """
    sheet = st.expander("Photos by class", icon=":material/grid_view:", on_change="rerun")
    if not sheet.open:
        return
    with sheet:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            shown = st.segmented_control(
                "Show", [ORIGINALS, AUGMENTED], default=ORIGINALS, required=True, key="train_sheet"
            )
            label = st.selectbox("Class", inspected.classes, key="train_sheet_class", width=260)
        photos = [photo for photo in inspected.photos if photo.photo.label == label]
        if shown == ORIGINALS:
            show_photos(photos, inspection, f"sheet-{label}", columns=8)
        else:
            show_views(photos[:MAX_AUGMENTED_PHOTOS], spec, views)


def show_views(photos: Sequence[InspectedPhoto], spec: ModelSpec, views: int) -> None:
    used = "only the first view" if views == 1 else f"the first {views} views"
    st.caption(
        f"Each row shows the views of one photo, scaled for {spec.keras_name}: the "
        "original, its mirror image, then random crops with changed brightness and contrast. "
        f"The current settings use {used} (“Augmented views per photo” in More settings). "
        "Augmentation makes the model less sensitive to position and lighting."
    )
    for photo in photos:
        with st.grid(VIEWS, wrap=False, min_column_width=56, gap="xsmall"):
            for view in range(VIEWS):
                st.image(
                    get_view(photo.sha256, spec.name, view, _photo=photo, _spec=spec),
                    alt=f"View {view + 1} of {printable(photo.photo.source.name)}",
                    width="stretch",
                )


# Cached per session, because photos are private to the session that uploaded them.
@st.cache_data(scope="session", max_entries=200, show_spinner=False)
def get_view(
    sha256: str,
    model: str,  # noqa: ARG001
    view: int,
    *,
    _photo: InspectedPhoto,
    _spec: ModelSpec,
) -> Image.Image:
    """Returns an augmented view of a photo; see `augment`."""
    data = _photo.photo.source.read()
    photo = open_photo(data, limits=caches.get_settings().limits)
    return augment(photo.image, _spec, Resize.CROP, view, sha256)


def show_photos(
    photos: Sequence[InspectedPhoto], inspection: Inspection, scope: str, *, columns: int = 5
) -> None:
    """Shows pages of photos, each with its label, its name and an Exclude button.

    Args:
        photos: The photos.
        inspection: The inspection they come from.
        scope: Prefix of the widget keys, unique on the page.
        columns: Photos per row on a wide screen.
    """
    pages = -(-len(photos) // MAX_PHOTOS)
    key = f"{scope}-page"
    page = min(st.session_state.get(key, 1), pages)
    with st.grid(columns, min_column_width=96, gap="xsmall"):
        for photo in photos[(page - 1) * MAX_PHOTOS : page * MAX_PHOTOS]:
            with st.container(gap="xxsmall"):
                label, name = photo.photo.label, printable(photo.photo.source.name)
                st.image(photo.thumbnail, alt=f"{label}: {name}", width="stretch")
                st.caption(escape(f"{label}, {PurePosixPath(name).name}"))
                index = inspection.index_of(photo)
                st.button(
                    "Exclude",
                    key=f"exclude-{scope}-{index}",
                    help=f"Excludes {escape(name)} from training",
                    type="tertiary",
                    on_click=inspection.exclude,
                    args=([index],),
                )
    if pages > 1:
        st.pagination(pages, key=key)
