"""Who visits, and the files that they uploaded."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile


def visitor_id() -> str:
    """Returns a name for this session, which nobody else has."""
    return str(st.session_state.setdefault("visitor", uuid.uuid4().hex))


def release_uploads(files: Iterable[UploadedFile]) -> None:
    """Has the server forget uploaded files; who has them in hand keeps them.

    Streamlit keeps them until the session ends, unless it is the visitor's browser that takes
    them back.
    """
    context = get_script_run_ctx()
    if context is None:
        return
    manager = context.uploaded_file_mgr
    if isinstance(manager, MemoryUploadedFileManager):
        for file in files:
            manager.remove_file(context.session_id, file.file_id)
