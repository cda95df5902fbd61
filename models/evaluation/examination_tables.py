"""The sections of a report beyond the main table: grids, turned photos, mixtures and tiles, as tables of text cells."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.evaluation.examinations import (
    MIXTURE_DB,
    MOST_GROWTH,
    TILE_LEVELS,
    TURN_DB,
    TURN_SHARE,
    Examinations,
    GridTally,
    MixtureTally,
    TileTally,
    TurnTally,
)
from models.evaluation.tables import MISSING, Grid, signed

NAMED = 3
"""So many photos that miss a goal are named in a line of a table; report.json has all."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report: a title, a paragraph that explains the table, and the table."""

    title: str
    note: str
    grid: Grid


def sections(found: Examinations) -> Iterator[Section]:
    """Yields a section for everything that was examined."""
    if found.mixtures:
        yield Section(
            title="Mixtures of two kinds of damage",
            note="Synthetic damage on ground truths; mean PSNR in dB. Better single repair: the better of two "
            f"restorations that are told one kind each, chosen in hindsight for each photo. Goal: +{MIXTURE_DB:g} dB.",
            grid=_mixtures(found.mixtures),
        )
    if found.turns:
        yield Section(
            title="Photos turned by 90, 180 and 270 degrees",
            note=f"Auto mode, the same photos. Goal: gains within {TURN_DB:g} dB and right labels within "
            f"{TURN_SHARE:.0%} of upright.",
            grid=_turns(found.turns),
        )
    if found.grids:
        yield Section(
            title="Grids: spectral peaks in flat regions",
            note="Auto mode, means over photos. A typical photo has a peak of about 2; above 12 a grid can be seen. "
            f"Growth: the result's peak over that of the input or truth. Goal: at most {MOST_GROWTH:g}.",
            grid=_grids(found.grids),
        )
    if found.tiles:
        yield Section(
            title="Agreement of tiles",
            note="Auto mode, in tiles and at once; levels of 255. Drift: the largest difference of local brightness. "
            f"Seam: the largest step. Goal: a drift of at most {TILE_LEVELS:g}.",
            grid=_tiles(found.tiles),
        )


def _mixtures(tallies: Sequence[MixtureTally]) -> Grid:
    lines = [
        (
            of.kinds,
            str(of.pictures),
            f"{of.before_db:.2f}",
            f"{of.single_db:.2f}",
            f"{of.auto_db:.2f}",
            signed(of.auto_db - of.single_db),
            f"{of.passes:.1f}",
            _verdict(of.auto_db - of.single_db < MIXTURE_DB),
        )
        for of in tallies
    ]
    columns = ("mixture", "n", "input", "better single repair", "auto", "auto over single", "passes", "goal")
    return Grid(columns=columns, lines=tuple(lines), totals=frozenset({len(lines) - 1}))


def _turns(tallies: Sequence[TurnTally]) -> Grid:
    lines = [
        (
            of.task,
            f"{90 * of.turns}°",
            str(of.pictures),
            _gain(of.gain_upright_db),
            _gain(of.gain_db),
            f"{of.right_upright}/{of.labeled}" if of.labeled else MISSING,
            f"{of.right}/{of.labeled}" if of.labeled else MISSING,
            _verdict(of.missed),
            _named(of.worse),
        )
        for of in tallies
    ]
    columns = (
        "task",
        "turned by",
        "n",
        "gain upright",
        "gain turned",
        "label upright",
        "label turned",
        "goal",
        "worse",
    )
    return Grid(columns=columns, lines=tuple(lines))


def _grids(tallies: Sequence[GridTally]) -> Grid:
    lines = [
        (
            of.task,
            str(of.pictures),
            f"{of.before:.1f}",
            f"{of.after:.1f}",
            MISSING if of.truth is None else f"{of.truth:.1f}",
            f"{of.largest_growth:.1f}",
            str(len(of.with_grid)),
            _named(of.with_grid),
        )
        for of in tallies
    ]
    columns = ("task", "n", "input", "result", "truth", "largest growth", f"above {MOST_GROWTH:g}", "worst (growth)")
    return Grid(columns=columns, lines=tuple(lines))


def _tiles(tallies: Sequence[TileTally]) -> Grid:
    lines = [
        (of.task, str(of.pictures), f"{of.drift:.1f}", f"{of.seam:.1f}", str(len(of.missed)), _named(of.missed))
        for of in tallies
    ]
    columns = ("task", "n", "largest drift", "largest seam", f"drift above {TILE_LEVELS:g}", "worst (drift)")
    return Grid(columns=columns, lines=tuple(lines))


def _gain(db: float | None) -> str:
    return MISSING if db is None else signed(db)


def _verdict(missed: bool) -> str:
    return "missed" if missed else "reached"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more if names else MISSING
