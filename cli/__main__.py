"""`python -m cli`: the same as `undegrade`."""

from cli.entry import run

run()
