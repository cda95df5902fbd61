"""Names of blobs: paths of letters, digits and `_.-`; those of a job begin with its id."""

import re

from jobs.errors import StoreError


def checked_name(name: str) -> str:
    """Returns the name.

    Raises:
        StoreError: it is not a plain path.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", name) or ".." in name or "." in name.split("/"):
        raise StoreError(f"got blob name {name!r}, expected a path of letters, digits, '_', '.' and '-'")
    return name


def job_of(name: str) -> str | None:
    """Returns the id of the job that a blob belongs to, None where it belongs to none."""
    first = name.partition("/")[0]
    return first if re.fullmatch(r"[0-9a-f]{32}", first) else None
