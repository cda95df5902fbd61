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
def runner(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from gpu_stages import runner

    return runner


@pytest.mark.parametrize("bad", ["raises", "hangs", "dies", "skips"])
def test_a_stage_that_ends_badly_hides_no_other(runner, tmp_path, bad):
    def command(stage, rows):
        return [sys.executable, "-c", BODIES[stage.name].format(rows=str(rows))]

    stages = [runner.Stage(bad, 0.1), runner.Stage("works", 0.9)]
    first, second = runner.run_stages(stages, command, tmp_path, 30)
    expected = {"raises": "failed", "hangs": "timeout", "dies": "failed", "skips": "skipped"}[bad]
    assert (first.status, second.status, second.rows) == (expected, "ok", [{"n": 2}])
    assert first.rows == ([{"n": 1}] if bad in ("raises", "hangs") else [])
    assert {"raises": "the card is on fire", "skips": "no card"}.get(bad, "") in first.note
    assert [entry["status"] for entry in json.loads((tmp_path / "results.json").read_text())] == [expected, "ok"]
    assert f"## {bad}: {expected}" in (tmp_path / "results.md").read_text()


@pytest.mark.slow
def test_every_stage_runs_on_a_cpu_or_says_why_not(tmp_path):
    words = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--minutes", "4", "--tiny", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    results = json.loads((tmp_path / "results.json").read_text())
    assert done.returncode == 0, done.stdout
    assert len(results) == 7
    assert all(entry["rows"] if entry["status"] == "ok" else entry["note"] for entry in results)
