"""`python -m cli` is the same as `undegrade`."""

from cli.entry import run

run()
