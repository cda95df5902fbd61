"""Run the real parts under faults, and check that nothing is lost and nothing is published twice.

Two API processes, three workers with a tiny bundle, a webhook process, Redis (or a Sentinel trio) and a store run on
this machine.  Clients send jobs, batches, repeated requests, cancels and deletes, read events and receive webhooks.
Faults are drawn from one seed.  At the end, every job is compared with what its clients know of it.  The last line has
the figures; the exit code is 1 where a promise was broken.  Full disks need root.

`--jobs 10000 --faults 300` takes about 45 minutes on two cores that are otherwise idle: 4 requests a second, some of
which are batches, and a fault every 8 s.  `--minutes` changes the pace.

Examples:
    python benchmarks/chaos.py --minutes 3 --seed 7
    python benchmarks/chaos.py --jobs 10000 --faults 300 --table benchmarks/results/DATE_cpu_chaos.md
    python benchmarks/chaos.py --redis sentinel --minutes 3
    python benchmarks/chaos.py --schedule failed.jsonl
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from itertools import count
from math import ceil
from pathlib import Path

ROOT = Path(__file__).parents[1]
for folder in (ROOT, ROOT / "tests" / "support"):
    sys.path.append(str(folder))

from chaos_run.clock import can_shift  # noqa: E402
from chaos_run.place import Wish, make_pictures  # noqa: E402
from chaos_run.report import broken, last_line, say, write_table  # noqa: E402
from chaos_run.run import Plan, Report, run_plan  # noqa: E402
from chaos_run.schedule import GAP_S, KINDS, Fault, draw, read_schedule, write_schedule  # noqa: E402
from chaos_run.shrink import shrink  # noqa: E402
from s3_servers import WEED  # noqa: E402

JOBS_PER_REQUEST, RATE = 1.1, 4.0
SPARE = 0.1
"""Faults that are drawn beyond those that are asked for, in place of those that are skipped."""
INTERRUPTED = 130


def main() -> int:
    """Run, check, and shrink a failure."""
    options = _options()
    faults, enough, lasts_s = _schedule(options)
    wish = Wish(redis=options.redis, store=options.store, clock=options.clock)
    rate = options.rate or (options.jobs / JOBS_PER_REQUEST / lasts_s if options.jobs else RATE)
    plan = Plan(
        seed=options.seed, faults=faults, enough=enough, lasts_s=lasts_s, rate=rate, wish=wish, jobs=options.jobs
    )  # fmt: skip
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    pace = f"{enough} faults in {lasts_s / 60:.1f} minutes, {rate:.1f} requests/s"
    say(f"seed {options.seed}: {pace}; logs in {base}")
    make_pictures(base / "pictures")
    text = json.loads((base / "pictures" / "expected.json").read_text())
    expected = {int(number): pixels for number, pixels in text.items()}
    report = run_plan(plan, base / "run", base / "pictures", expected, say)
    for line in [*report.without, *broken(report)]:
        say(line)
    faults = faults[: report.injected.total() + report.skipped.total()]  # without spare ones
    if report.violations:
        (base / "violations.txt").write_text("".join(f"{violation}\n" for violation in report.violations))
        schedule = base / "schedule.jsonl"
        write_schedule(schedule, faults)
        say(f"seed {options.seed} failed; its schedule, journal, logs and violations.txt are in {base}")
        if options.shrink_minutes:
            smaller = _shrunk(replace(plan, faults=faults), base, expected, report, options.shrink_minutes)
            write_schedule(schedule.with_name("minimal.jsonl"), smaller)
            say(f"a minimal schedule is {schedule.with_name('minimal.jsonl')}:")
            for fault in smaller:
                say(f"  {fault}")
    else:
        shutil.rmtree(base, ignore_errors=True)
    if options.table and not report.interrupted:
        write_table(options.table, report, "python benchmarks/chaos.py " + " ".join(sys.argv[1:]))
    print(last_line(report) + (" (interrupted)" if report.interrupted else ""), flush=True)
    return 1 if report.violations else INTERRUPTED if report.interrupted else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="of faults (default: 3, or what --jobs and --faults need)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the load (default: 1)")
    parser.add_argument("--jobs", type=int, help="go on until so many jobs are accepted")
    parser.add_argument("--faults", type=int, help="how many faults (default: one in 4 s)")
    parser.add_argument("--rate", type=float, help=f"requests a second (default: {RATE:g}, or what --jobs needs)")
    parser.add_argument("--redis", choices=("one", "sentinel"), default="one", help="one server, or a Sentinel trio")
    parser.add_argument("--store", choices=("folder", "s3"), default="folder", help="s3 is SeaweedFS (make s3-test)")
    parser.add_argument("--only", help="kinds of faults, with commas, instead of all: " + ", ".join(KINDS))
    parser.add_argument("--clock", action="store_true", help="also jumps of the clock (needs cc)")
    parser.add_argument("--schedule", type=Path, metavar="FILE", help="these faults instead of drawn ones")
    parser.add_argument("--shrink-minutes", type=float, default=0.0, help="time to look for a smaller failing schedule")
    parser.add_argument("--table", type=Path, metavar="FILE", help="append the figures to this file")
    options = parser.parse_args()
    if unknown := set((options.only or "").split(",")) - {"", *KINDS}:
        parser.error(f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(KINDS)}")
    for name in ("minutes", "jobs", "rate"):
        if (value := getattr(options, name)) is not None and value <= 0:
            parser.error(f"--{name}: got {value:g}, expected more than 0")
    if options.store == "s3" and not (WEED.exists() or shutil.which("weed")):
        parser.error("--store s3: SeaweedFS is not installed; `make s3-test` installs it")
    if options.minutes is None:
        needs = [options.jobs / JOBS_PER_REQUEST / RATE / 60 if options.jobs else 0, (options.faults or 0) * 4 / 60]
        options.minutes = max(needs) or 3.0
    return options


def _schedule(options: argparse.Namespace) -> tuple[list[Fault], int, float]:
    """Returns the faults with spare ones, how many of them are enough, and the seconds that those take."""
    try:
        if options.schedule:
            faults = read_schedule(options.schedule)
            return faults, len(faults), max((fault.at_s for fault in faults), default=0.0) + 1
        only = (options.only or "").split(",")
        enough = max(1, round(options.minutes * 60 / GAP_S)) if options.faults is None else options.faults
        drawn = enough + ceil(SPARE * enough)
        minutes = options.minutes * drawn / enough if enough else options.minutes
        faults = draw(options.seed, minutes, drawn, _possible(options), only)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    return faults, enough, options.minutes * 60


def _possible(options: argparse.Namespace) -> set[str]:
    """Returns what faults may need (`Kind.needs`): the same on each machine that can do it, so a seed means one run."""
    have = {"one-redis", "links"} if options.redis == "one" else {"sentinel"}
    root = os.geteuid() == 0
    have |= {"store-front"} if options.store == "s3" else {"store-disk"} if root else set()
    have |= {"redis-disk"} if root and options.redis == "one" else set()
    return have | ({"clock"} if options.clock and can_shift() else set())


def _shrunk(plan: Plan, base: Path, expected: dict[int, str], first: Report, minutes: float) -> list[Fault]:
    """Returns the smallest part of the schedule that was found to break one of the same rules."""
    rules, until_s = {violation.rule for violation in first.violations}, time.monotonic() + minutes * 60
    numbers = count(1)

    def fails(faults: list[Fault]) -> bool:
        moved = [replace(fault, at_s=fault.at_s - faults[0].at_s) for fault in faults]
        trial = replace(plan, faults=moved, enough=len(moved), lasts_s=moved[-1].at_s + 1, jobs=None)
        number = next(numbers)
        report = run_plan(trial, base / f"shrink-{number}", base / "pictures", expected, lambda text: None)
        failed = bool(rules & {violation.rule for violation in report.violations})
        say(f"shrink {number}: {len(faults)} faults {'fail' if failed else 'pass'}")
        return failed

    return shrink(plan.faults, fails, lambda: time.monotonic() < until_s)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the parts were started, or a second Ctrl-C
        sys.exit(INTERRUPTED)
