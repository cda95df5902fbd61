"""The names of blobs: paths of letters, digits and `_.-`, below the id of the job that they belong to."""

import re

MAX_NAME_LENGTH = 200
NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


def is_blob_name(name: str) -> bool:
    """Returns whether a name stays within the store, whatever kind of store it is."""
    return NAME.fullmatch(name) is not None and ".." not in name and "." not in name.split("/")


def belongs_to(name: str, job: str) -> bool:
    """Returns whether a blob may be one of this job: a job must not read or delete the pictures of another."""
    return len(name) <= MAX_NAME_LENGTH and is_blob_name(name) and name.startswith(f"{job}/")
