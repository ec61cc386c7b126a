"""Page scripts, run by Streamlit. The entry point is `navigation.py`."""
