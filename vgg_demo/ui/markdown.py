"""Escaping of plain text for Markdown."""

from __future__ import annotations

import re


def escape(text: object) -> str:
    r"""Escapes plain text, such as a file name, a path or an error message, for Markdown.

    GitHub-flavored Markdown also turns bare addresses into links, even if their punctuation is
    escaped. A word joiner (U+2060, invisible) inside the address prevents that.

    >>> print(escape(r"C:\.keras"))
    C\:\\.keras
    >>> escape("www.example.com") == "www\u2060.example.com"
    True
    """
    line = " ".join(str(text).split())
    no_link = re.sub(r"(?i)(?<=www)(?=\.)|(?<=:)(?=//)|(?=@)", "\u2060", line)
    escaped = re.sub(r"([\\`*_{}\[\]<>#$~:|])", r"\\\1", no_link)
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", escaped)  # not the start of a list
