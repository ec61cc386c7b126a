"""Escapes control characters in untrusted text."""


def printable(text: str) -> str:
    r"""Escapes characters that control a terminal, imitate a new line, or are not valid text.

    A file name can contain nearly anything; on Linux, even bytes that are not valid text.

    >>> printable("a cat\n\x1b[2J\u202egpj.\udcff")
    'a cat\\n\\x1b[2J\\u202egpj.\\udcff'
    """
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
