"""Entry point of the installed `undegrade`.  Imports take a while, and Ctrl-C during them must not show a traceback."""

import sys


def run() -> None:
    """Import the command and run it."""
    try:
        from cli.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()
