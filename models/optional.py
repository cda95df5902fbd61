"""Optional values that must be set by now."""

from typing import TypeVar

T = TypeVar("T")


def not_none(value: T | None) -> T:
    """Returns the value; None here is a bug of ours."""
    assert value is not None, "got None where the value must be set by now"
    return value
