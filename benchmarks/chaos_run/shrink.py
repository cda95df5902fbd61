"""Finds a small part of a schedule that still fails (delta debugging, Zeller and Hildebrandt 2002)."""

from collections.abc import Callable, Sequence

from chaos_run.schedule import Fault


def shrink(faults: Sequence[Fault], fails: Callable[[list[Fault]], bool], more: Callable[[], bool]) -> list[Fault]:
    """Returns faults of which no group can be left out, or what is left when `more` says that the time is over.

    Args:
        fails: whether a run with these faults fails; real runs differ, so a miss only makes the answer longer.
    """
    kept, parts = list(faults), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        groups = [kept[start : start + size] for start in range(0, len(kept), size)]
        others = [[fault for rest in groups if rest is not group for fault in rest] for group in groups]
        for smaller, next_parts in [*((group, 2) for group in groups), *((rest, parts - 1) for rest in others)]:
            if not more():
                return kept
            if len(smaller) < len(kept) and fails(smaller):
                kept, parts = smaller, max(2, next_parts)
                break
        else:
            if parts >= len(kept):
                return kept
            parts = min(2 * parts, len(kept))
    return kept
