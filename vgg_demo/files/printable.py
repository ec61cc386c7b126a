"""Text that steers nothing."""


def printable(text: str) -> str:
    r"""Escapes what could steer a terminal, fake a line or not be text at all.

    A file's name may hold nearly anything; on Linux, bytes that are no text are among it.

    >>> printable("a cat\n\x1b[2J\u202egpj.\udcff")
    'a cat\\n\\x1b[2J\\u202egpj.\\udcff'
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
