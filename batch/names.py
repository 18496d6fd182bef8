r"""Names of photos as text that Arrow takes, and back as the bytes that they are.

Names of files and of what archives hold are bytes; most are UTF-8, and some come from systems that
write another encoding. Python keeps what is no UTF-8 in lone surrogates (`surrogateescape`), which
Arrow's strings cannot hold. Here such a byte is written as `\xe4`; a backslash that looks like the
beginning of one becomes `\x5c`. So all other names stay what they are, and each comes back.
"""

import re

_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def escape(name: str) -> str:
    r"""The text that stands for a name, in valid Unicode.

    Parameters
    ----------
    name
        As Python's `os.fsdecode` gives it on a system whose names are UTF-8.

    Examples
    --------
    >>> print(escape("K\udce4tzchen.png"))
    K\xe4tzchen.png
    >>> print(escape(r"C:\x41.png"))
    C:\x5cx41.png
    """
    text = _ESCAPE.sub(rb"\\x5cx\1", encode(name))
    return text.decode("utf-8", "backslashreplace")


def restore(text: str) -> bytes:
    r"""The bytes of the name that `escape` wrote as this text.

    Examples
    --------
    >>> restore(r"K\xe4tzchen.png")
    b'K\xe4tzchen.png'
    """
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())


def printable(text: str) -> str:
    """Words with a name in them, in valid Unicode, for people to read."""
    return text.encode("utf-8", "backslashreplace").decode()


def encode(name: str) -> bytes:
    """The bytes of a name."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character that was never bytes, as in a damaged table
        return name.encode("utf-8", "surrogatepass")
