"""Conversion rules: a table of the authors' keys, our keys, and the change of each tensor.

`theirs` is a regular expression that must match the whole key.  `ours` is "network:key", or None to drop the key on
purpose.  The first matching rule applies, and a key without a matching rule is an error.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from models.errors import BundleError

Change = Literal["", "transpose", "matrix", "q", "k", "v"]
"""transpose: (a, b) -> (b, a); matrix: (a, b, 1, 1) -> (a, b); q, k, v: concatenated to one tensor in this order."""

FUSED: tuple[Change, ...] = ("q", "k", "v")


class Rule(NamedTuple):
    """One row of the table."""

    theirs: str
    ours: str | None
    change: Change = ""


class Source(NamedTuple):
    """A tensor of the checkpoint and its change."""

    key: str
    change: Change


Recipe = dict[str, dict[str, tuple[Source, ...]]]
"""network -> our key -> its source tensors."""


def make_recipe(rules: Sequence[Rule], keys: Iterable[str]) -> Recipe:
    """Returns the source tensors of each of our tensors, in the order of the checkpoint.

    Raises:
        BundleError: no rule matches a key, or two keys become the same tensor; the message names them.
    """
    table = [(re.compile(rule.theirs), rule) for rule in rules]
    recipe: Recipe = {}
    unmatched: list[str] = []
    for key in keys:
        for pattern, rule in table:
            if match := pattern.fullmatch(key):
                if rule.ours is not None:
                    network, _, name = match.expand(rule.ours).partition(":")
                    _add(recipe.setdefault(network, {}), name, Source(key, rule.change))
                break
        else:
            unmatched.append(key)
    if unmatched:
        more = f" and {len(unmatched) - 1} more" if len(unmatched) > 1 else ""
        raise BundleError(
            f"the checkpoint has unknown keys: {unmatched[0]}{more}. It belongs to another model or version."
        )
    return recipe


def _add(network: dict[str, tuple[Source, ...]], name: str, source: Source) -> None:
    """Add a source; those of a fused tensor are sorted as q, k, v, whatever their order in the file."""
    parts = [*network.get(name, ()), source]
    changes = [part.change for part in parts]
    if len(parts) > 1 and (source.change not in FUSED or len(set(changes)) < len(changes)):
        raise BundleError(
            f"the checkpoint's {parts[0].key} and {source.key} are the same tensor of ours. It is damaged."
        )
    network[name] = tuple(sorted(parts, key=lambda part: FUSED.index(part.change) if len(parts) > 1 else 0))


def with_prefix(theirs: str, ours: str, rules: Sequence[Rule]) -> list[Rule]:
    """Returns the rules of a module, such as a residual block, with the module's path before their keys and ours."""
    return [Rule(theirs + rule.theirs, f"{ours}{rule.ours}", rule.change) for rule in rules]
