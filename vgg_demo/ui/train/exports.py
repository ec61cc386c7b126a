"""Export of a trained model to other formats, on request and in a worker process."""

from __future__ import annotations

import streamlit as st

from vgg_demo.training.jobs.training_run import Export, TrainingRun
from vgg_demo.training.recipe import ExportFormat
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import caches

FORMATS: dict[ExportFormat, tuple[str, str]] = {
    "tflite": ("TensorFlow Lite", "For mobile devices, with float weights."),
    "tflite-int8": ("TensorFlow Lite, 8-bit", "A quarter of the size; some predictions differ."),
    "saved-model": ("SavedModel", "For TensorFlow Serving."),
}


def show_exports_menu(run: TrainingRun) -> None:
    is_exporting = has_pending_exports(run)
    with st.popover("Export", icon=":material/output:"):
        st.fragment(show_exports, run_every=1.0 if is_exporting else None)(run, is_exporting)


def has_pending_exports(run: TrainingRun) -> bool:
    return any(export.file is None and not export.error for export in run.exports.values())


def show_exports(run: TrainingRun, is_exporting: bool) -> None:
    if has_pending_exports(run) != is_exporting:  # start or stop the periodic updates
        st.rerun(scope="app")
    for export_format, (name, purpose) in FORMATS.items():
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"**{name}.** {purpose}")
            show_export(run, export_format, run.exports.get(export_format))


def show_export(run: TrainingRun, export_format: ExportFormat, export: Export | None) -> None:
    if export is not None and export.file is not None:
        file, metrics = export.file, export.metrics
        st.markdown(
            f"{metrics['size_bytes'] / 1e6:.1f} MB. Same top prediction as the model on "
            f"{metrics['agreement']:.1%} of the {metrics['photos']:,} held-out photos; "
            f"{describe_difference(metrics['largest_difference'])}."
        )
        st.download_button(
            "Download",
            file.read_bytes,
            file_name=file.name,
            icon=":material/download:",
            on_click="ignore",
            key=f"export-{export_format}",
        )
    elif export is not None and not export.error:
        st.markdown(":material/hourglass_top: Converting and comparing …")
    elif run.has_photos:
        if export is not None:
            st.error(escape(export.error), icon=":material/error:")
        st.button(
            "Convert",
            key=f"convert-{export_format}",
            on_click=caches.get_training_queue().export,
            args=(run, export_format),
        )
    else:
        st.caption(
            "An export is compared with the model on the held-out photos, which are no longer on "
            "this server. Use the command line instead: vgg-demo bundle export."
        )


def describe_difference(largest: float) -> str:
    """Describes the largest difference of a probability, in percentage points.

    Args:
        largest: The largest difference, in [0, 1].
    """
    if largest < 0.0005:
        return "probabilities are equal to a tenth of a percentage point"
    return f"probabilities differ by at most {100 * largest:.1f} percentage points"
