"""A taught model for other programs: made when it is asked for, in a process of its own."""

from __future__ import annotations

import streamlit as st

from vgg_demo.training.jobs.run import Export, TrainingRun
from vgg_demo.training.recipe import ExportFormat
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches

WORDS: dict[ExportFormat, tuple[str, str]] = {
    "tflite": ("TensorFlow Lite", "For phones, with numbers as they are."),
    "tflite-int8": ("TensorFlow Lite, 8 bits", "A quarter of the size; some answers differ."),
    "saved-model": ("SavedModel", "For TensorFlow's own servers."),
}


def show_exports_menu(run: TrainingRun) -> None:
    is_going_on = are_made(run)
    with st.popover("For other programs", icon=":material/output:"):
        st.fragment(show_exports, run_every=1.0 if is_going_on else None)(run, is_going_on)


def are_made(run: TrainingRun) -> bool:
    """Whether any is in the making."""
    return any(one.file is None and not one.error for one in run.exports.values())


def show_exports(run: TrainingRun, is_going_on: bool) -> None:
    if are_made(run) != is_going_on:  # to be looked at again and again, or not any more
        st.rerun(scope="app")
    for kind, (name, purpose) in WORDS.items():
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"**{name}.** {purpose}")
            show_export(run, kind, run.exports.get(kind))


def show_export(run: TrainingRun, kind: ExportFormat, export: Export | None) -> None:
    if export is not None and export.file is not None:
        file, facts = export.file, export.facts
        st.markdown(
            f"{facts['size_bytes'] / 1e6:.1f} MB. On the {facts['photos']:,} photos kept back it "
            f"gives the same first answer for {facts['agreement']:.1%}; "
            f"{describe_difference(facts['largest_difference'])}."
        )
        st.download_button(
            "Download",
            file.read_bytes,
            file_name=file.name,
            icon=":material/download:",
            on_click="ignore",
            key=f"export-{kind}",
        )
    elif export is not None and not export.error:
        st.markdown(":material/hourglass_top: It is being made and compared …")
    elif run.has_photos:
        if export is not None:
            st.error(escape(export.error), icon=":material/error:")
        st.button(
            "Make it",
            key=f"make-{kind}",
            on_click=caches.get_training_queue().export,
            args=(run, kind),
        )
    else:
        st.caption(
            "It is compared on the photos kept back, which this server has let go of. The command "
            "line can make it: python -m vgg\\_demo teach export."
        )


def describe_difference(largest: float) -> str:
    """Says how far probabilities are apart, in points of a hundred."""
    if largest < 0.0005:
        return "and its probabilities are the same to a tenth of a point"
    return f"no probability differs by more than {100 * largest:.1f} points"
