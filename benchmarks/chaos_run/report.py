"""What a run prints: lines of progress, one last line with the figures, and the table for benchmarks/results."""

import os
import platform
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from chaos_run.run import Report

MOST_SHOWN = 12
_begun_s = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress, with the seconds since the start."""
    print(f"{time.monotonic() - _begun_s:7.1f}  {text}", file=sys.stderr, flush=True)


def recovery_p95_s(report: Report, kind: str | None = None) -> float | None:
    """Returns the 95th percentile of the recoveries from all faults, or from those of a kind; None without any."""
    kinds = report.recoveries_s if kind is None else {kind}
    times = [time_s for each in kinds for time_s in report.recoveries_s.get(each, [])]
    if not times:
        return None
    return statistics.quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]


def broken(report: Report) -> list[str]:
    """Returns the broken promises for people: the first ones in full, the others counted."""
    lines = [str(violation) for violation in report.violations[:MOST_SHOWN]]
    if more := report.violations[MOST_SHOWN:]:
        lines.append(f"and {len(more)} more: {dict(Counter(violation.rule for violation in more))}")
    return lines


def last_line(report: Report) -> str:
    """Returns the line with the figures."""
    p95_s = recovery_p95_s(report)
    others = len(report.violations) - report.lost - report.twice
    return (
        f"{report.accepted} jobs accepted, {sum(report.injected.values())} faults injected, {report.lost} lost, "
        f"{report.twice} published twice, {others} other violations, recovery p95 "
        + ("unknown" if p95_s is None else f"{p95_s:.1f} s")
    )


def write_table(path: Path, report: Report, command: str) -> None:
    """Append a run to a file of benchmarks/results; a new file gets its heading."""
    rows = []
    if not path.exists():
        rows += ["# Chaos", ""]
    usual, recovered = _seconds(report.usual_s), _seconds(report.recovered_s)
    rows += [
        f"## {time.strftime('%Y-%m-%d %H:%M')}", "", f"`{command}`, {platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[1]:.1f}.", "", last_line(report) + ".", "", "| figure | value |", "|---|---|",
        f"| minutes, with start and checks | {report.minutes:.1f} |",
        *(f"| jobs {state} | {count} |" for state, count in sorted(report.states.items()) if count),
        f"| webhooks received | {report.webhooks} |", f"| readers of events | {report.readers} |",
        f"| p95 s before the faults | {usual} |", f"| p95 s from 20 s after the last fault | {recovered} |", "",
        "| fault | injected | skipped | recovery p95 s |", "|---|---|---|---|",
        *(f"| {kind} | {report.injected[kind]} | {report.skipped[kind]} | {_seconds(recovery_p95_s(report, kind))} |"
          for kind in sorted(report.injected | report.skipped)), "",
    ]  # fmt: skip
    rows += [f"- {why}" for why in report.without]
    with path.open("a") as file:
        file.write("\n".join(rows).rstrip() + "\n\n")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
