"""The results of benchmarks/never_worse.py: one row a picture, the summary with its targets, the Markdown report."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

from never_worse_examples import CLEAN, DAMAGED, HELD_OUT

IDENTICAL_SHARE, LOWEST_DB = 0.99, 42.0
WORSE_DB, WORSE_SHARE = 0.3, 0.01
EQUAL_DB = 100.0
"""The PSNR of equal pictures, in means and gains."""
LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One restored picture.  PSNR in dB against the truth, None if equal; `error` instead of all, if it failed."""

    key: str
    part: str
    group: str
    place: str
    input_db: float | None = None
    result_db: float | None = None
    identical: bool = False
    label: str = ""
    probability: float = 0.0
    repaired: tuple[str, ...] = ()
    stop_reason: str = ""
    seconds: float = 0.0
    error: str | None = None

    @property
    def db(self) -> float:
        """The PSNR of the result."""
        return EQUAL_DB if self.result_db is None else self.result_db

    @property
    def gain_db(self) -> float:
        return 0.0 if self.identical else self.db - (EQUAL_DB if self.input_db is None else self.input_db)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Outcome":
        values = json.loads(line)
        return cls(**{**values, "repaired": tuple(values["repaired"])})

    def line(self) -> str:
        """Returns one line for a reader."""
        if self.error is not None:
            return f"{self.key}: {self.error}"
        change = f"{self.gain_db:+.2f} dB" if self.part == DAMAGED else f"{self.db:.1f} dB"
        what = "unchanged" if self.identical else f"{change}, repaired {', '.join(self.repaired) or 'nothing'}"
        return f"{self.key} {self.group}: {what} ({self.label} {self.probability:.0%}); {self.place}"


@dataclass(frozen=True, kw_only=True)
class CleanGroup:
    """Clean pictures: how many came back bit-identical, how many below 42 dB, and the lowest PSNR."""

    pictures: int
    identical: int
    below: int
    lowest_db: float


@dataclass(frozen=True, kw_only=True)
class DamagedGroup:
    """Damaged pictures: the mean gain, how many lost more than 0.3 dB, and the largest loss."""

    pictures: int
    gain_db: float
    unchanged: int
    worse: int
    lowest_gain_db: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures by group.  `missed` names the targets that were missed; `errors` the messages by picture."""

    clean: dict[str, CleanGroup]
    damaged: dict[str, DamagedGroup]
    missed: tuple[str, ...]
    errors: dict[str, str]
    seconds: float
    met: bool = field(default=False)


def summarize(rows: Sequence[Outcome]) -> Summary:
    """Returns the figures; the targets are those of the held-out photographs and of all damaged pictures."""
    good = [row for row in rows if row.error is None]
    clean = {group: _clean(of) for group, of in _groups(good, CLEAN)}
    damaged = {group: _damaged(of) for group, of in _groups(good, DAMAGED)}
    everything = [row for row in good if row.part == DAMAGED]
    if everything:
        damaged["all"] = _damaged(everything)
    missed = tuple(_missed(clean.get(HELD_OUT), damaged.get("all")))
    errors = {row.key: row.error for row in rows if row.error is not None}
    seconds = sum(row.seconds for row in good)
    return Summary(
        clean=clean, damaged=damaged, missed=missed, errors=errors, seconds=seconds, met=not missed and not errors
    )


def _groups(rows: Iterable[Outcome], part: str) -> Iterable[tuple[str, list[Outcome]]]:
    groups: dict[str, list[Outcome]] = {}
    for row in rows:
        if row.part == part:
            groups.setdefault(row.group, []).append(row)
    return sorted(groups.items(), key=lambda entry: (entry[0] != HELD_OUT, entry[0]))


def _clean(rows: Sequence[Outcome]) -> CleanGroup:
    return CleanGroup(
        pictures=len(rows),
        identical=sum(row.identical for row in rows),
        below=sum(row.db < LOWEST_DB for row in rows),
        lowest_db=min(row.db for row in rows),
    )


def _damaged(rows: Sequence[Outcome]) -> DamagedGroup:
    return DamagedGroup(
        pictures=len(rows),
        gain_db=fmean(row.gain_db for row in rows),
        unchanged=sum(row.identical for row in rows),
        worse=sum(row.gain_db < -WORSE_DB for row in rows),
        lowest_gain_db=min(row.gain_db for row in rows),
    )


def _missed(clean: CleanGroup | None, damaged: DamagedGroup | None) -> Iterable[str]:
    if clean is not None and clean.identical < IDENTICAL_SHARE * clean.pictures:
        yield f"{clean.identical} of {clean.pictures} clean photographs are bit-identical; the target is 99 %"
    if clean is not None and clean.below:
        yield f"{clean.below} clean photographs are below {LOWEST_DB:.0f} dB; the target is none"
    if damaged is not None and damaged.worse > WORSE_SHARE * damaged.pictures:
        yield f"{damaged.worse} of {damaged.pictures} damaged pictures lost more than {WORSE_DB} dB; the target is 1 %"


def markdown(summary: Summary, rows: Sequence[Outcome], head: str, command: str) -> str:
    """Returns the report: targets, groups, and the worst pictures with the command that shows one of them."""
    verdict = [f"- {text}" for text in summary.missed] or ["- All targets are met."]
    parts = [head, "", f"Automatic mode, {summary.seconds / 60:.0f} minutes of restoring.", "", *verdict]
    parts += [f"- {key} failed: {error}" for key, error in summary.errors.items()]
    parts += [
        "", "## Clean pictures", "",
        f"| group | pictures | bit-identical | below {LOWEST_DB:.0f} dB | lowest PSNR |", "|---|---|---|---|---|",
        *(
            f"| {group} | {of.pictures} | {of.identical} ({of.identical / of.pictures:.1%}) | {of.below} "
            f"| {'equal' if of.lowest_db == EQUAL_DB else f'{of.lowest_db:.1f} dB'} |"
            for group, of in summary.clean.items()
        ),
        "", "## Damaged pictures", "",
        f"| group | pictures | mean gain | unchanged | worse by more than {WORSE_DB} dB | largest loss |",
        "|---|---|---|---|---|---|",
        *(
            f"| {group} | {of.pictures} | {of.gain_db:+.2f} dB | {of.unchanged} "
            f"| {of.worse} ({of.worse / of.pictures:.1%}) | {min(of.lowest_gain_db, 0):+.2f} dB |"
            for group, of in summary.damaged.items()
        ),
        "", *_worst(rows, CLEAN), *_worst(rows, DAMAGED),
        "To write input, result and truth of one of these pictures to `look/`:", "",
        f"```\n{command} --show KEY --out look\n```", "",
    ]  # fmt: skip
    return "\n".join(parts)


def _worst(rows: Sequence[Outcome], part: str) -> list[str]:
    """Returns a table of the clean pictures that changed most, or the damaged ones that lost most."""
    value: Callable[[Outcome], float] = (lambda row: row.gain_db) if part == DAMAGED else (lambda row: row.db)
    hurt = [row for row in rows if row.part == part and row.error is None and not row.identical]
    hurt = sorted((row for row in hurt if part == CLEAN or row.gain_db < 0), key=value)
    title = "The clean pictures that changed most" if part == CLEAN else "The damaged pictures that lost most"
    if not hurt:
        return [f"## {title}", "", "None.", ""]
    lines = [
        f"| {row.key} | {value(row):{'.1f' if part == CLEAN else '+.2f'}} dB | {row.label} {row.probability:.0%} "
        f"| {', '.join(row.repaired) or 'nothing'} | {row.place} |"
        for row in hurt[:LISTED]
    ]
    more = f" ({LISTED} of {len(hurt)})" if len(hurt) > LISTED else ""
    column = "PSNR" if part == CLEAN else "gain"
    return [f"## {title}{more}", "", f"| key | {column} | first label | repaired | picture |", "|---|---|---|---|---|",
            *lines, ""]  # fmt: skip
