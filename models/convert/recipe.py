"""Conversion is a table: their key, our key, and what happens to the tensor on the way.

A rule's `theirs` is a regular expression over the whole key, `ours` is "network:key" (None drops the key on purpose),
and the first match wins.  A key that no rule names is an error.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from models.errors import BundleError

Change = Literal["", "transpose", "matrix", "q", "k", "v"]
"""transpose: (a, b) -> (b, a); matrix: (a, b, 1, 1) -> (a, b); q, k and v are stacked to one tensor in that order."""

FUSED: tuple[Change, ...] = ("q", "k", "v")


class Rule(NamedTuple):
    """One line of the table."""

    theirs: str
    ours: str | None
    change: Change = ""


class Source(NamedTuple):
    """A tensor of the checkpoint and what happens to it."""

    key: str
    change: Change


Recipe = dict[str, dict[str, tuple[Source, ...]]]
"""network -> our key -> the tensors it is made of."""


def recipe(rules: Sequence[Rule], keys: Iterable[str]) -> Recipe:
    """What every tensor of ours is made of, in the order of the checkpoint.

    Raises:
        BundleError: no rule names a key, or two keys lead to one of ours; the message names them.
    """
    table = [(re.compile(rule.theirs), rule) for rule in rules]
    made: Recipe = {}
    unnamed: list[str] = []
    for key in keys:
        for pattern, rule in table:
            if match := pattern.fullmatch(key):
                if rule.ours is not None:
                    network, _, name = match.expand(rule.ours).partition(":")
                    _add(made.setdefault(network, {}), name, Source(key, rule.change))
                break
        else:
            unnamed.append(key)
    if unnamed:
        more = f" and {len(unnamed) - 1} more" if len(unnamed) > 1 else ""
        raise BundleError(
            f"the checkpoint has a key that no rule names: {unnamed[0]}{more}. It is of another model or version."
        )
    return made


def _add(network: dict[str, tuple[Source, ...]], name: str, source: Source) -> None:
    """Fused tensors gather their parts in the order q, k, v, whatever the order in the file."""
    parts = [*network.get(name, ()), source]
    changes = [part.change for part in parts]
    if len(parts) > 1 and (source.change not in FUSED or len(set(changes)) < len(changes)):
        raise BundleError(f"the checkpoint's {parts[0].key} and {source.key} are one tensor of ours. It is damaged.")
    network[name] = tuple(sorted(parts, key=lambda part: FUSED.index(part.change) if len(parts) > 1 else 0))


def place(theirs: str, ours: str, leaves: Sequence[Rule]) -> list[Rule]:
    """The leaves of a part at its place: a residual block's tensors under its name here and there."""
    return [Rule(theirs + leaf.theirs, f"{ours}{leaf.ours}", leaf.change) for leaf in leaves]
