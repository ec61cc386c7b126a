"""Sources of training photos on the Train page: uploads, folders and the example."""

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
from vgg_demo.ui.train.class_folders import show_class_folders
from vgg_demo.ui.train.inspection import (
    MAX_BYTES,
    MAX_PHOTOS,
    call_and_rerun,
    limit_sources,
    show_inspect_button,
    start_inspection,
)

LIMITS = ArchiveLimits(members=10_000, size_bytes=1_000_000_000)
MAX_TABLE_BYTES = 5_000_000

FILES, FOLDER, CLASS_BY_CLASS = "Photos or archives", "Folder", "Class by class"

EXAMPLE_FILE = "clothing_example.zip"
EXAMPLE_TILES = (
    "Dress/01", "Dress/04", "Pants/01", "Pants/04", "Shoes/02", "Shoes/05", "T-Shirt/02",
    "T-Shirt/05",
)  # fmt: skip


def show_photo_sources() -> None:
    """Shows the photo sources. A click on a button starts the inspection of the photos."""
    left, right = st.columns([5, 6], gap="medium")
    with left:
        source = st.segmented_control(
            "Your photos",
            [FILES, FOLDER, CLASS_BY_CLASS],
            default=CLASS_BY_CLASS if "train_classes" in st.session_state else FILES,
            required=True,
            key="train_source",
        )
        if source != CLASS_BY_CLASS:
            show_uploader(is_folder=source == FOLDER)
    if source == CLASS_BY_CLASS:
        show_class_folders()
    else:
        with right:
            show_example()
    st.caption(
        f":material/lock: Up to {MAX_PHOTOS:,} photos and {MAX_BYTES // 2**20} MB. Your photos "
        "stay in this server's memory while this tab is open, and for at most a day with the "
        "models trained on them. They are never written to disk; only features computed from "
        "them are, without file names."
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
    selected = list(uploads or ())
    tables = [file for file in selected if file.name.casefold().endswith(".csv")]
    photos = [file for file in selected if file not in tables]
    st.markdown(
        "Use one folder per class, or add a label table (CSV).",
        help="A ZIP or TAR archive of folders named after the classes: `cat/1.jpg`, `dog/2.jpg`. "
        "Or photos together with a CSV table that has a column of file names and a column of "
        "labels.",
    )
    columns = choose_columns(tables[0]) if tables else None
    show_upload_button(photos, tables, columns)


def choose_columns(table: UploadedFile) -> Columns | None:
    """Shows the columns of a table. Returns the selected ones, or None if it is unusable."""
    try:
        header = next(csv.reader(io.StringIO(read_table(table))), [])
    except (VggDemoError, csv.Error) as error:
        st.error(escape(error), icon=":material/error:")
        return None
    header = list(dict.fromkeys(name for name in header if name))
    if len(header) < 2:
        st.error(
            f"The table needs at least two named columns; it has {len(header)}.",
            icon=":material/error:",
        )
        return None
    with st.container(horizontal=True):
        image = st.selectbox("File names", header, index=index_of("image", header, 0))
        label = st.selectbox("Labels", header, index=index_of("label", header, 1))
        group = st.selectbox(
            "Groups",
            ["", *header],
            format_func=lambda name: name or "(none)",
            help="Photos of one group, such as the frames of a video, are kept together, either "
            "in the training set or in the validation set.",
        )
    return Columns(image, label, group)


def index_of(name: str, header: Sequence[str], default: int) -> int:
    return header.index(name) if name in header else default


def read_table(table: UploadedFile) -> str:
    """Returns the text of a CSV file.

    Raises:
        DatasetError: If it is larger than `MAX_TABLE_BYTES` or not UTF-8.
    """
    data = table.getvalue()
    if len(data) > MAX_TABLE_BYTES:
        raise DatasetError(
            f"The table is {len(data) / 1e6:.0f} MB; the limit is {MAX_TABLE_BYTES / 1e6:.0f} MB. "
            "Remove the columns that are not used."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError("The table is not UTF-8 text. Save it as “CSV UTF-8”.") from None


def show_upload_button(
    photos: list[UploadedFile], tables: list[UploadedFile], columns: Columns | None
) -> None:
    size_bytes = sum(file.size for file in photos)
    reason = ""
    if not photos:
        reason = "Add photos first."
    elif len(tables) > 1:
        reason = f"Upload only one table; there are {len(tables)}."
    elif tables and columns is None:
        reason = "The table is not usable. Fix or remove it."
    elif size_bytes > MAX_BYTES:
        reason = (
            f"These files are {size_bytes / 2**20:,.0f} MB in total; the limit is "
            f"{MAX_BYTES // 2**20} MB. Remove some, or train on the command line: "
            "vgg-demo train."
        )
        st.error(reason, icon=":material/error:")
    show_inspect_button(reason, inspect_uploads, photos, tables, columns)


def inspect_uploads(
    photos: list[UploadedFile], tables: list[UploadedFile], columns: Columns | None
) -> None:
    named_files = [(file.name, file) for file in photos]
    table = read_table(tables[0]) if tables else None
    title = PurePosixPath(photos[0].name).parts[0].partition(".")[0]
    inspect_files(title, named_files, table, columns)
    release_uploads([*photos, *tables])  # the inspection holds the photos now
    st.session_state["train_uploads"] += 1


def inspect_files(
    title: str,
    named_files: Sequence[tuple[str, BinaryIO]],
    table: str | None = None,
    columns: Columns | None = None,
) -> None:
    """Starts the inspection of files, labeled by a table or else by their folders."""
    limits = caches.get_settings().limits

    def sources() -> Iterator[Source]:
        for name, file in named_files:
            yield from find_in_upload(name, file, limits, LIMITS)

    if table is None or columns is None:
        dataset = label_by_folders(limit_sources(sources()))
    else:
        dataset = label_by_table(limit_sources(sources()), table, columns)
    st.session_state["train_inspection"] = start_inspection(clean_label(title), dataset, limits)


def show_example() -> None:
    st.markdown(
        "Or try an example: 160 photos of dresses, pants, shoes and T-shirts",
        help="From the “Clothing dataset” by Alexey Grigorev and its contributors, in the public "
        "domain (CC0).",
    )
    with st.grid(len(EXAMPLE_TILES), wrap=False, min_column_width=34, gap="xsmall"):
        for name, tile in example_tiles().items():
            st.image(tile, width="stretch", alt=f"Example photo {name}")
    if st.button("Use the example", icon=":material/school:"):
        call_and_rerun(inspect_example)


def example_data() -> bytes:
    return files("vgg_demo").joinpath("data", EXAMPLE_FILE).read_bytes()


@st.cache_data(show_spinner=False)
def example_tiles() -> dict[str, bytes]:
    """Returns thumbnails of some example photos, by class and number."""
    with zipfile.ZipFile(io.BytesIO(example_data())) as archive:
        return {
            name: square_thumbnail(decode(archive.read(f"clothing/{name}.jpg")))
            for name in EXAMPLE_TILES
        }


def inspect_example() -> None:
    inspect_files("clothing", [(EXAMPLE_FILE, io.BytesIO(example_data()))])
