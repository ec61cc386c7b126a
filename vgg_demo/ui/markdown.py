"""Plain text in Markdown."""

from __future__ import annotations

import re


def escape(text: object) -> str:
    r"""Keeps Markdown from reading what is plain text: a file name, a path, an error.

    What looks like an address becomes a link even where its signs are escaped; an invisible
    sign that forbids a line break keeps it from looking so.

    >>> print(escape(r"C:\.keras"))
    C\:\\.keras
    >>> escape("www.example.com") == "www\u2060.example.com"
    True
    """
    line = " ".join(str(text).split())
    no_link = re.sub(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?=@)", "\u2060", line)
    escaped = re.sub(r"([\\`*_{}\[\]<>#$~:|])", r"\\\1", no_link)
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", escaped)  # no list begins with it
