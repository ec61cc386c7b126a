"""Photos to learn from: where they come from."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import PurePosixPath
from typing import BinaryIO

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from vgg_demo.errors import DatasetError, VggDemoError
from vgg_demo.files.archives import UPLOAD_SUFFIXES
from vgg_demo.files.sources import Source, find_in_upload
from vgg_demo.images.decode import SUFFIXES, decode
from vgg_demo.limits import ArchiveLimits
from vgg_demo.models.custom import clean_label
from vgg_demo.training.dataset import Columns, label_by_folders, label_by_table
from vgg_demo.training.inspection import square_thumbnail
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches
from vgg_demo.ui.session.visitor import release_uploads
from vgg_demo.ui.train.class_folders import offer_class_folders
from vgg_demo.ui.train.inspection import MAX_BYTES, MAX_PHOTOS, act, begin, inspect_button, limited

LIMITS = ArchiveLimits(members=10_000, size_bytes=1_000_000_000)
MAX_TABLE_BYTES = 5_000_000

UPLOAD, FOLDER, KINDS = "Archive or photos", "A folder", "Kind by kind"

EXAMPLE_FILE = "lesson.zip"
EXAMPLE_TILES = (
    "Dress/01", "Dress/04", "Pants/01", "Pants/04", "Shoes/02", "Shoes/05", "T-Shirt/02",
    "T-Shirt/05",
)  # fmt: skip


def show_photo_sources() -> None:
    """Shows where photos may come from; what is given is put into the session and looked at."""
    own, others = st.columns([5, 6], gap="medium")
    with own:
        way = st.segmented_control(
            "Your photos",
            [UPLOAD, FOLDER, KINDS],
            default=KINDS if "train_classes" in st.session_state else UPLOAD,
            required=True,
            key="train_source",
        )
        if way != KINDS:
            show_uploader(is_folder=way == FOLDER)
    if way == KINDS:
        offer_class_folders()
    else:
        with others:
            show_example()
    st.caption(
        f":material/lock: Up to {MAX_PHOTOS:,} photos and {MAX_BYTES // 2**20} MB. They stay in "
        "this server's memory while this tab is open, and with what was taught from them for at "
        "most a day. They are never written to disk; numbers that a network computes of them are, "
        "without names."
    )


def show_uploader(*, is_folder: bool) -> None:
    generation = st.session_state.setdefault("train_uploads", 0)
    uploads = st.file_uploader(
        "Upload photos",
        type=[*SUFFIXES, "csv", *(() if is_folder else UPLOAD_SUFFIXES)],
        accept_multiple_files="directory" if is_folder else True,
        key=f"train-{is_folder}-{generation}",
        label_visibility="collapsed",
    )
    samples = list(uploads or ())
    tables = [file for file in samples if file.name.casefold().endswith(".csv")]
    photos = [file for file in samples if file not in tables]
    st.markdown(
        "In folders named after what is on the photos; or with a table (CSV) that says it.",
        help="A ZIP or TAR of folders: `cat/1.jpg`, `dog/2.jpg`. A table has a column of the "
        "photos' names and one of what is on them, and is uploaded together with the photos.",
    )
    columns = choose_columns(tables[0]) if tables else None
    show_inspect_button(photos, tables, columns)


def choose_columns(table: UploadedFile) -> Columns | None:
    """Offers the columns of a table."""
    try:
        header = next(csv.reader(io.StringIO(read_table(table))), [])
    except (VggDemoError, csv.Error) as error:
        st.error(escape(error), icon=":material/error:")
        return None
    header = list(dict.fromkeys(name for name in header if name))
    if len(header) < 2:
        st.error("The table needs two columns or more.", icon=":material/error:")
        return None
    with st.container(horizontal=True):
        image = st.selectbox("Photos' names", header, index=place_of("image", header, 0))
        label = st.selectbox("What is on them", header, index=place_of("label", header, 1))
        group = st.selectbox(
            "What belongs together",
            ["", *header],
            format_func=lambda name: name or "(nothing)",
            help="Photos of one group, such as the frames of a film, come to one side: learned "
            "from, or judged by.",
        )
    return Columns(image, label, group)


def place_of(name: str, header: Sequence[str], otherwise: int) -> int:
    return header.index(name) if name in header else otherwise


def read_table(table: UploadedFile) -> str:
    data = table.getvalue()
    if len(data) > MAX_TABLE_BYTES:
        raise DatasetError(
            f"The table has {len(data) / 1e6:.0f} MB; the limit is {MAX_TABLE_BYTES / 1e6:.0f} MB."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError("The table is no UTF-8 text. Save it as CSV UTF-8.") from None


def show_inspect_button(
    photos: list[UploadedFile], tables: list[UploadedFile], columns: Columns | None
) -> None:
    size_bytes = sum(file.size for file in photos)
    reason = ""
    if not photos:
        reason = "Give some photos first."
    elif len(tables) > 1:
        reason = "Give one table."
    elif tables and columns is None:
        reason = "The table cannot be used."
    elif size_bytes > MAX_BYTES:
        reason = (
            f"These files have {size_bytes / 2**20:,.0f} MB; the limit is "
            f"{MAX_BYTES // 2**20} MB. Take some out, or use the command line: "
            "vgg-demo train."
        )
        st.error(reason, icon=":material/error:")
    inspect_button(reason, take_uploads, photos, tables, columns)


def take_uploads(
    photos: list[UploadedFile], tables: list[UploadedFile], columns: Columns | None
) -> None:
    named = [(file.name, file) for file in photos]
    table = read_table(tables[0]) if tables else None
    title = PurePosixPath(photos[0].name).parts[0].partition(".")[0]
    take(title, named, table, columns)
    release_uploads([*photos, *tables])  # the photos that are looked at hold them
    st.session_state["train_uploads"] += 1


def take(
    title: str,
    named: Sequence[tuple[str, BinaryIO]],
    table: str | None = None,
    columns: Columns | None = None,
) -> None:
    limits = caches.get_settings().limits

    def sources() -> Iterator[Source]:
        for name, file in named:
            yield from find_in_upload(name, file, limits, LIMITS)

    if table is None or columns is None:
        dataset = label_by_folders(limited(sources()))
    else:
        dataset = label_by_table(limited(sources()), table, columns)
    st.session_state["train_inspection"] = begin(clean_label(title), dataset, limits)


def show_example() -> None:
    st.markdown(
        "Or try it with these: 160 photos of dresses, pants, shoes and T-shirts",
        help="From the “Clothing dataset” of Alexey Grigorev and its contributors, in the public "
        "domain (CC0).",
    )
    with st.grid(len(EXAMPLE_TILES), wrap=False, min_column_width=34, gap="xsmall"):
        for name, picture in example_tiles().items():
            st.image(picture, width="stretch", alt=f"One of the {name} photos")
    if st.button("Use these", icon=":material/school:"):
        act(take_example)


def example_data() -> bytes:
    return files("vgg_demo").joinpath("data", EXAMPLE_FILE).read_bytes()


@st.cache_data(show_spinner=False)
def example_tiles() -> dict[str, bytes]:
    """Returns some of the example's photos, by their names in it."""
    with zipfile.ZipFile(io.BytesIO(example_data())) as archive:
        return {
            name: square_thumbnail(decode(archive.read(f"clothing/{name}.jpg")))
            for name in EXAMPLE_TILES
        }


def take_example() -> None:
    data = example_data()
    take("clothing", [(EXAMPLE_FILE, io.BytesIO(data))])
