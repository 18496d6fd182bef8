"""The socket that the app listens on, taken first because everything else takes longer."""

import os
import socket

from serving.settings import CannotStart

LOCALHOST = "127.0.0.1"


def take_port(host: str | None, port: int) -> socket.socket:
    """Bind a port of an address, without accepting connections yet.

    Raises
    ------
    CannotStart
        If it is in use, or the address is not this machine's.
    """
    # A Space of the Hugging Face Hub gives the address in this variable.
    address = (host or os.environ.get("GRADIO_SERVER_NAME") or LOCALHOST).strip("[]")
    found = None
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
    except (OSError, OverflowError) as error:
        if found:
            found.close()
        reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise CannotStart(f"The port {port} of {address} cannot be used: {reason}.") from None
    return found
