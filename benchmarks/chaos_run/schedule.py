"""Which faults come when: a list drawn from one seed, before the run begins.  It can be written, read and cut."""

import json
import random
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

APIS, WORKERS = 2, 3


@dataclass(frozen=True)
class Fault:
    """One fault: it begins `at_s` after the calm time, and is healed after `lasts_s`.  `target`: number of the part."""

    at_s: float
    kind: str
    target: int
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.at_s:.1f} s {self.kind} {self.target} for {self.lasts_s:.1f} s"


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        weight: how often it comes.
        targets: how many parts it can hit.
        lasts_s: the shortest and the longest time; for a kill, the time until the part is started again.
        needs: what the machine or the run must have for it.
    """

    weight: float
    targets: int
    lasts_s: tuple[float, float]
    needs: frozenset[str] = frozenset()


def _kind(weight: float, targets: int, least_s: float, most_s: float, *needs: str) -> Kind:
    return Kind(weight, targets, (least_s, most_s), frozenset(needs))


LINKS = APIS + WORKERS + 1
KINDS = {
    "kill-api": _kind(3, APIS, 0, 3),
    "pause-api": _kind(2, APIS, 1, 8),
    "kill-worker": _kind(4, WORKERS, 0, 5),
    "pause-worker": _kind(3, WORKERS, 1, 22),  # longer than a lease of 15 s
    "kill-engine": _kind(4, WORKERS, 0, 0),
    "pause-engine": _kind(2, WORKERS, 1, 9),
    "kill-decoder": _kind(3, WORKERS, 0, 0),
    "pause-decoder": _kind(2, WORKERS, 1, 6),
    "kill-webhooks": _kind(3, 1, 0, 4),
    "pause-webhooks": _kind(2, 1, 1, 20),
    "kill-redis": _kind(3, 1, 0, 4, "one-redis"),
    "pause-redis": _kind(2, 1, 1, 8, "one-redis"),
    "restart-redis": _kind(2, 1, 0, 2, "one-redis"),
    "failover-kill": _kind(3, 1, 3, 8, "sentinel"),
    "failover-pause": _kind(2, 1, 3, 8, "sentinel"),
    "failover-asked": _kind(2, 1, 0, 0, "sentinel"),
    "link-cut": _kind(3, LINKS, 0.5, 18, "links"),
    "link-half-open": _kind(3, LINKS, 0.5, 18, "links"),
    "link-requests-lost": _kind(2, LINKS, 0.5, 12, "links"),
    "link-answers-lost": _kind(3, LINKS, 0.5, 12, "links"),
    "link-slow": _kind(2, LINKS, 2, 10, "links"),
    "store-full": _kind(2, 1, 1, 6, "store-disk"),
    "store-read-only": _kind(2, 1, 1, 6, "store-disk"),
    "store-500": _kind(2, 1, 1, 6, "store-front"),
    "store-slow": _kind(2, 1, 1, 8, "store-front"),
    "store-cut": _kind(2, 1, 1, 6, "store-front"),
    "redis-disk-full": _kind(1, 1, 1, 4, "redis-disk"),
    "redis-memory-full": _kind(1, 1, 1, 5, "one-redis"),
    "scale-to-zero": _kind(1, 1, 1, 5),
    "deploy": _kind(1, 1, 0, 0),
    "clock-jump": _kind(1, 2, 2, 10, "clock"),
}
GAP_S = 4.0
"""Between the beginnings of two faults, on average, where no number is asked for."""


def draw(seed: int, minutes: float, count: int, have: Collection[str], only: Collection[str] = ()) -> list[Fault]:
    """Returns the faults of a run in their order; the same for the same arguments.

    Args:
        count: how many.
        have: what the machine and the run have (`Kind.needs`).
        only: names of the kinds to draw from; all where there are none.

    Raises:
        ValueError: none of the kinds is possible.
    """
    random_source = random.Random(seed)
    wanted = set(only) - {""} or set(KINDS)
    possible = {name: kind for name, kind in KINDS.items() if kind.needs <= set(have) and name in wanted}
    if not possible:
        raise ValueError(f"got {', '.join(sorted(wanted))}, expected a fault that this machine and run can have")
    names = random_source.choices(list(possible), [kind.weight for kind in possible.values()], k=count)
    times = sorted(random_source.uniform(0, minutes * 60) for _ in names)
    found = []
    for at_s, name in zip(times, names, strict=True):
        kind = possible[name]
        lasts_s = random_source.uniform(*kind.lasts_s)
        found.append(Fault(round(at_s, 2), name, random_source.randrange(kind.targets), round(lasts_s, 2)))
    return found


def write_schedule(path: Path, faults: Sequence[Fault]) -> None:
    """Write faults for `--schedule`, one a line."""
    path.write_text("".join(json.dumps(asdict(fault)) + "\n" for fault in faults))


def read_schedule(path: Path) -> list[Fault]:
    """Returns the faults of a file.

    Raises:
        ValueError: a line is not a fault; the message says which.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            fault = Fault(**json.loads(line))
            if not 0 <= fault.target < KINDS[fault.kind].targets:
                raise ValueError(f"target {fault.target} of {fault.kind}")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}, line {number}: expected a fault as `--schedule` writes it, got {error}"
            ) from error
        found.append(fault)
    return sorted(found, key=lambda fault: fault.at_s)
