"""Entry point for Streamlit: `streamlit run streamlit_app.py`. See `vgg_demo/app.py`."""

import streamlit as st

from vgg_demo.app import app_options

app = st.App(**app_options())  # `streamlit run` recognizes the application by this call
