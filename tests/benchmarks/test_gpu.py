"""The stages of benchmarks/gpu.py: none hides another, and the whole program runs on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BODIES = {
    "raises": "open({rows!r}, 'a').write('{{\"n\": 1}}\\n'); raise RuntimeError('the card is on fire')",
    "hangs": "import time; f = open({rows!r}, 'a'); f.write('{{\"n\": 1}}\\n{{\"cut'); f.flush(); time.sleep(600)",
    "dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "skips": "print('no card'); raise SystemExit(77)",
    "works": "open({rows!r}, 'a').write('{{\"n\": 2}}\\n')",
}


@pytest.fixture
def runner():
    from gpu_stages import runner

    return runner


def command(stage, rows, seconds):
    return [sys.executable, "-c", BODIES[stage.name].format(rows=str(rows))]


@pytest.mark.parametrize("bad", ["raises", pytest.param("hangs", marks=pytest.mark.slow), "dies", "skips"])
def test_a_stage_that_ends_badly_hides_no_other(runner, tmp_path, bad):
    stages = [runner.Stage(bad, 0.1), runner.Stage("works", 0.9)]
    first, second = runner.run_stages(stages, command, tmp_path, 60)
    expected = {"raises": "failed", "hangs": "timeout", "dies": "failed", "skips": "skipped"}[bad]
    assert (first.status, second.status, second.rows) == (expected, "ok", [{"n": 2}])
    assert first.rows == ([{"n": 1}] if bad in ("raises", "hangs") else [])
    assert {"raises": "the card is on fire", "skips": "no card"}.get(bad, "") in first.note
    assert [entry["status"] for entry in json.loads((tmp_path / "results.json").read_text())] == [expected, "ok"]
    assert f"## {bad}: {expected}" in (tmp_path / "results.md").read_text()
    assert first.note or bad == "works"


def test_every_stage_is_told_its_share_and_later_ones_share_what_is_left(runner, tmp_path, monkeypatch):
    told, clock = [], [0.0]

    def run(stage, command, out, budget_s):
        told.append(budget_s)
        clock[0] += {"a": 1.0, "b": budget_s, "c": budget_s}[stage.name]
        return runner.StageResult(stage.name, "ok", 1.0)

    monkeypatch.setattr(runner, "_run_stage", run)
    monkeypatch.setattr(runner.time, "monotonic", lambda: clock[0])
    runner.run_stages([runner.Stage(name, share) for name, share in zip("abc", (0.5, 0.25, 0.25))], None, tmp_path, 100)  # noqa: B905
    assert told == pytest.approx([50, 49.5, 49.5])
    assert clock[0] == pytest.approx(100)


def test_a_stage_for_which_no_time_is_left_is_not_started(runner, tmp_path):
    stages = [runner.Stage("works", 1.0), runner.Stage("works", 1.0)]
    results = runner.run_stages(stages, command, tmp_path, runner.LEAST_S / 2)
    assert [(result.status, result.note) for result in results] == [("skipped", "no time was left")] * 2


def test_what_comes_back_is_few_and_small_files(runner, tmp_path, monkeypatch):
    """A GPU machine sends back 8 files of 16 MiB; a stage that prints without end is cut to its end."""
    monkeypatch.setitem(BODIES, "talks", "print('x' * (3 * 2**20)); print('the end'); raise SystemExit(1)")
    stages = [runner.Stage("talks", 0.1)] * 7
    results = runner.run_stages(stages, command, tmp_path, 200)
    files = list(tmp_path.iterdir())
    assert {file.name for file in files} == {"results.json", "results.md", "log.txt"}
    assert all(file.stat().st_size < 16 * 2**20 for file in files)
    assert all(result.note.endswith("the end") for result in results)


def test_each_stage_has_a_place():
    import gpu

    for stage in gpu.STAGES:
        module, function = gpu.PLACES[stage.name]
        source = (ROOT / "benchmarks" / "gpu_stages" / f"{module}.py").read_text()
        assert f"\ndef {function}(options: Options) -> Iterator[Row]:" in source
    assert sum(stage.share for stage in gpu.STAGES) == pytest.approx(1)


def test_the_files_with_gpu_tests_are_found():
    from gpu_stages.facts import TESTED, tested_files

    files = tested_files()
    assert {"tests/models/autodir/test_cuda_graphs.py", "tests/worker/test_engine_transfers.py"} <= set(files)
    assert {"tests/models/test_on_gpu.py", "tests/worker/test_engine_on_gpu.py"} <= set(files)
    line = "tests/models/test_on_gpu.py::test_half[a b-cpu] PASSED                    [ 50%]"
    assert TESTED.match(line).groups() == ("tests/models/test_on_gpu.py::test_half[a b-cpu]", "PASSED")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_stage_runs_on_a_cpu_or_says_why_not(tmp_path):
    words = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--minutes", "8", "--tiny", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    results = json.loads((tmp_path / "results.json").read_text())
    assert done.returncode == 0, done.stdout
    assert len(results) == 7
    assert all(entry["rows"] if entry["status"] == "ok" else entry["note"] for entry in results)
