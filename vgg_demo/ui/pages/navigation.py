"""Navigation: which pages there are. Everything else is in the pages."""

from importlib.resources import files

import streamlit as st

from vgg_demo.ui.session import available_models

# A file of ours: Streamlit fetches Material icons for the tab from Google's servers.
ICON = str(files("vgg_demo").joinpath("data", "icon.png"))

st.set_page_config(page_title="VGG Demo", page_icon=ICON, layout="wide")

page = st.navigation(
    [
        st.Page(
            "classify.py",
            title="Classify",
            icon=":material/image_search:",
            help="Give a photo and see what VGG16, or another network, makes of it.",
            default=True,
        ),
        st.Page(
            "compare.py",
            title="Compare",
            icon=":material/compare:",
            help="Let several networks answer the same photo: where they agree, what each costs.",
        ),
        st.Page(
            "batch.py",
            title="Batch",
            icon=":material/photo_library:",
            help="Give many photos, a folder or an archive; take a table away.",
        ),
        st.Page(
            "train.py",
            title="Teach",
            icon=":material/school:",
            help="Teach a network your own kinds of things, from photos of them.",
        ),
        st.Page(
            "about.py",
            title="About",
            icon=":material/menu_book:",
            help="How VGG16 works, layer by layer, and what this demo cannot tell.",
        ),
    ],
    position="top",
)
if page.url_path != "train" and "@" in str(st.query_params.to_dict()):
    # The address names a taught model, perhaps one that this browser had taught before.
    with st.container(gap=None):
        available_models.restore_runs()
page.run()
