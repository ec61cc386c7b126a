"""Entry point of the user interface: the list of pages."""

from importlib.resources import files

import streamlit as st

from vgg_demo.ui.session import available_models

# A bundled file, because Streamlit loads Material icons for the tab from Google's servers.
ICON = str(files("vgg_demo").joinpath("data", "icon.png"))

st.set_page_config(page_title="VGG Demo", page_icon=ICON, layout="wide")

page = st.navigation(
    [
        st.Page(
            "classify.py",
            title="Classify",
            icon=":material/image_search:",
            help="Classify a photo with VGG16 or another model.",
            default=True,
        ),
        st.Page(
            "compare.py",
            title="Compare",
            icon=":material/compare:",
            help="Compare the predictions, speed and memory of several models on one photo.",
        ),
        st.Page(
            "batch.py",
            title="Batch",
            icon=":material/photo_library:",
            help="Classify many photos, a folder or an archive, and download a table.",
        ),
        st.Page(
            "train.py",
            title="Train",
            icon=":material/school:",
            help="Train a model on your own photos and classes.",
        ),
        st.Page(
            "about.py",
            title="About",
            icon=":material/menu_book:",
            help="How VGG16 works, how to read a prediction, and the limits of this demo.",
        ),
    ],
    position="top",
)
if page.url_path != "train" and "@" in str(st.query_params.to_dict()):
    # The URL names a custom model, perhaps one that this browser trained in an earlier session.
    with st.container(gap=None):
        available_models.restore_runs()
page.run()
