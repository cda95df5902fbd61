"""Who acts on the command line, as others see it in lists."""

import getpass
import os
import socket


def operator_name() -> str:
    """Returns user@host; a user without a name, as in a container, is a number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
