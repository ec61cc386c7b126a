"""Photos to learn from, as they are and as a network is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import streamlit as st
from PIL import Image

from vgg_demo.files.printable import printable
from vgg_demo.images.photo import open_photo
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.training.augmentation import augmented
from vgg_demo.training.data import InspectedDataset
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.train.inspection import Inspection

MAX_SHOWN = 24  # photos at a time
AUGMENTED = 4  # photos of a kind that are shown in all their views
VIEWS = 5

PLAIN, SEEN = "The photos", "What it is shown of them"


def show_sheet(
    inspected: InspectedDataset, inspection: Inspection, spec: ModelSpec, views: int
) -> None:
    """Shows photos of each kind, as they are and as they are learned from."""
    sheet = st.expander("Photos of each kind", icon=":material/grid_view:", on_change="rerun")
    if not sheet.open:
        return
    with sheet:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            shown = st.segmented_control(
                "Show", [PLAIN, SEEN], default=PLAIN, required=True, key="train_sheet"
            )
            label = st.selectbox("Kind", inspected.classes, key="train_sheet_class", width=260)
        photos = [one for one in inspected.photos if one.photo.label == label]
        if shown == PLAIN:
            show_photos(photos, inspection, f"sheet-{label}", columns=8)
        else:
            show_views(photos[:AUGMENTED], spec, views)


def show_views(photos: Sequence[InspectedPhoto], spec: ModelSpec, views: int) -> None:
    st.caption(
        f"A photo a row, as {spec.keras_name} is shown it while it learns: as it is, mirrored, and "
        f"from the third on cut out anew and made lighter or darker. Now it is shown {views} of "
        "these (“views” under More settings). So it learns the thing, and not its place."
    )
    for one in photos:
        with st.grid(VIEWS, wrap=False, min_column_width=56, gap="xsmall"):
            for view in range(VIEWS):
                st.image(
                    get_view(one.sha256, spec.name, view, _looked=one, _spec=spec),
                    alt=f"View {view + 1} of {printable(one.photo.source.name)}",
                    width="stretch",
                )


# Photos are for the session that brought them.
@st.cache_data(scope="session", max_entries=200, show_spinner=False)
def get_view(
    sha256: str,
    model: str,  # noqa: ARG001
    view: int,
    *,
    _looked: InspectedPhoto,
    _spec: ModelSpec,
) -> Image.Image:
    """Returns a view of a photo, as `augmented` makes it for a network."""
    data = _looked.photo.source.read()
    photo = open_photo(data, limits=caches.get_settings().limits)
    return augmented(photo.image, _spec, Resize.CROP, view, sha256)


def show_photos(
    photos: Sequence[InspectedPhoto], inspection: Inspection, scope: str, *, columns: int = 5
) -> None:
    """Shows photos, some at a time, each with its name and a button that leaves it out."""
    pages = -(-len(photos) // MAX_SHOWN)
    key = f"{scope}-page"
    page = min(st.session_state.get(key, 1), pages)
    with st.grid(columns, min_column_width=96, gap="xsmall"):
        for one in photos[(page - 1) * MAX_SHOWN : page * MAX_SHOWN]:
            with st.container(gap="xxsmall"):
                name = printable(one.photo.source.name)
                st.image(one.thumbnail, alt=f"{one.photo.label}: {name}", width="stretch")
                st.caption(escape(f"{one.photo.label}, {PurePosixPath(name).name}"))
                place = inspection.place_of(one)
                st.button(
                    "Leave out",
                    key=f"leave-out-{scope}-{place}",
                    help=f"Does not learn from {escape(name)}",
                    type="tertiary",
                    on_click=inspection.leave_out,
                    args=([place],),
                )
    if pages > 1:
        st.pagination(pages, key=key)
