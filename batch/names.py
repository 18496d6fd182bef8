r"""Names of photos as text that Arrow accepts, and back to their bytes.

File names, also those in archives, are bytes; most are UTF-8, and some come from systems with
another encoding. Python keeps invalid UTF-8 as lone surrogates (`surrogateescape`), which Arrow's
strings cannot contain. Here such a byte is written as `\xe4`, and a backslash that looks like the
beginning of such an escape as `\x5c`. All other names stay unchanged, and every name can be
restored.
"""

import re

_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


def escape(name: str) -> str:
    r"""A name as valid Unicode.

    Parameters
    ----------
    name
        A name from Python's `os.fsdecode` on a system with UTF-8 names.

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
    r"""The bytes of the name that `escape` turned into this text.

    Examples
    --------
    >>> restore(r"K\xe4tzchen.png")
    b'K\xe4tzchen.png'
    """
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())


def printable(text: str) -> str:
    """A message that contains a name, as valid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()


def encode(name: str) -> bytes:
    """The bytes of a name."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a half character that was never bytes, as in a damaged table
        return name.encode("utf-8", "surrogatepass")
