"""Fuzzes readers of foreign bytes with coverage guidance (atheris): one process for each target of tests/fuzz/targets.

    make fuzz FUZZ_FLAGS="--minutes 2 --target upload"

    make fuzz FUZZ_FLAGS="--runs 1000000"

Each target starts from its own seeds and from tests/fuzz/corpus/TARGET.  A crash, or an input that takes more than 2 s,
is written to fuzz-crashes/ with the command that repeats it, and the exit code is 1.  A slow input is one of more than
2 s of processor time, so that a busy machine invents none; one that waits is a hang after 2 to 4 s by the clock.
"""

import argparse
import importlib
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CORPUS, CRASHES, FOUND = HERE / "corpus", ROOT / "fuzz-crashes", ROOT / ".fuzz-corpus"
TARGETS = tuple(sorted(path.stem for path in (HERE / "targets").glob("*.py")))
MAX_INPUT_BYTES, MAX_INPUT_S, MEMORY_MIB = 4096, 2, 3000


def target(name: str):
    """Returns the module of a target: `seeds()` and `run(data)`."""
    for folder in (HERE, HERE / "targets", ROOT / "tests" / "support", ROOT / "client"):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return importlib.import_module(name)


def main() -> int:
    """Fuzz, or repeat one input."""
    parser = argparse.ArgumentParser(description="Fuzz with coverage guidance.")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this target; may be repeated")
    parser.add_argument("--minutes", type=float, default=2.0, help="for each target (default: 2)")
    parser.add_argument("--runs", type=int, help="inputs for each target, instead of minutes")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default: 1)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input of one target, without atheris")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.child:
        return _child(options.child, rest)
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if options.replay:
        if len(options.target or ()) != 1:
            parser.error("--replay needs one --target")
        target(options.target[0]).run(options.replay.read_bytes())
        return 0
    return max(_fuzz(name, options) for name in options.target or TARGETS)


def _fuzz(name: str, options: argparse.Namespace) -> int:
    corpus, crashes = FOUND / name, CRASHES / name
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target(name).seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    before = set(crashes.iterdir())
    end = f"-runs={options.runs}" if options.runs else f"-max_total_time={max(1, round(options.minutes * 60))}"
    command = [
        sys.executable, str(Path(__file__)), "--child", name, str(corpus), str(CORPUS / name), end,
        f"-seed={options.seed}", f"-max_len={MAX_INPUT_BYTES}", f"-timeout={MAX_INPUT_S}",
        f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={crashes}/", "-print_final_stats=1",
    ]  # fmt: skip
    (CORPUS / name).mkdir(exist_ok=True)
    log_file, began_s = FOUND / f"{name}.log", _children_cpu_s()
    with log_file.open("wb") as output:  # not into memory: libraries write a line about many an input
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=output, check=False)
    cpu_s = max(0.01, _children_cpu_s() - began_s)
    log = log_file.read_text(errors="replace")
    found = sorted(set(crashes.iterdir()) - before)
    edges = [int(number) for number in re.findall(r"\bcov: (\d+)", log)]
    ran = re.search(r"number_of_executed_units: (\d+)", log)
    count = int(ran[1]) if ran else max((int(number) for number in re.findall(r"^#(\d+)", log, re.M)), default=0)
    covered = f"{edges[0]} -> {edges[-1]} edges" if edges else "no coverage"
    rate = f"{count / cpu_s:,.0f} for a second of processor time"
    _say(f"{name}: {count:,} inputs ({rate}), {covered}, {len(found)} crashes or slow inputs")
    for path in found:
        _say(f"  {path.name}: {sys.executable} {Path(__file__)} --target {name} --replay {path}")
    if found or done.returncode:
        _say("\n".join(log.splitlines()[-40:]))
    return int(bool(found or done.returncode))


def _children_cpu_s() -> float:
    """Returns the processor time of the processes that have ended; the clock would measure the other programs too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _child(name: str, arguments: Sequence[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["jobs", "service", "models", "undegrade_client", "starlette", "PIL"]):
        module = target(name)
    atheris.Setup([sys.argv[0], *arguments], timed(module.run))
    atheris.Fuzz()
    return 0


def timed(run: Callable[[bytes], None], clock: Callable[[], float] = time.process_time) -> Callable[[bytes], None]:
    """Returns `run` that raises where an input takes more than MAX_INPUT_S; atheris notices only some that end."""

    def run_timed(data: bytes) -> None:
        start_s = clock()
        run(data)
        took_s = clock() - start_s
        if took_s > MAX_INPUT_S:
            raise TimeoutError(f"an input of {len(data)} bytes took {took_s:.1f} s, expected at most {MAX_INPUT_S} s")

    return run_timed


if __name__ == "__main__":
    sys.exit(main())
