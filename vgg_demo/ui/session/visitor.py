"""The visitor's session ID and uploaded files."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile


def visitor_id() -> str:
    """Returns a random ID that identifies this session."""
    return str(st.session_state.setdefault("visitor", uuid.uuid4().hex))


def release_uploads(files: Iterable[UploadedFile]) -> None:
    """Removes uploaded files from the server's memory.

    References that the caller holds stay valid. Without this call, Streamlit keeps an upload
    until the session ends or the visitor removes it in the browser.
    """
    context = get_script_run_ctx()
    if context is None:
        return
    manager = context.uploaded_file_mgr
    if isinstance(manager, MemoryUploadedFileManager):
        for file in files:
            manager.remove_file(context.session_id, file.file_id)
