"""The model of mixed sizes: its clock adds up, and its program prints the three figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def model():
    import modeled_device

    return modeled_device


@pytest.mark.parametrize(("system", "extra_s"), [("run_engine", 0.0), ("run_jobs", 0.05)])
def test_a_picture_alone_waits_for_its_steps_and_two_calls(model, system, extra_s):
    """512 x 512 is a frame, 0.262 MP: 20 steps of 9 ms + 20 ms a megapixel, a begin and a finish of 3 ms each."""
    costs = model.Costs(0.009, 0.020, 20, 0.003, 0.0)
    jobs = [model.Job(number, 100.0 * number, (512, 512), 0) for number in range(3)]
    run = getattr(model, system)(jobs, model.fitted, costs, 12)
    alone_s = 20 * (0.009 + 0.020 * 512 * 512 / 1e6) + 2 * 0.003
    assert run.waits_s[:2] == pytest.approx([alone_s + extra_s] * 2)
    assert run.computed_mp == pytest.approx(512 * 512 / 1e6)


def test_pictures_that_come_together_share_steps(model):
    costs = model.Costs(0.009, 0.020, 20, 0.003, 0.0)
    run = model.run_engine([model.Job(number, 0.0, (512, 512), 0) for number in range(8)], model.fitted, costs, 12)
    assert run.step_images == 8


def test_all_runs_have_the_mean_area_of_the_list(model):
    import mixed

    sizes = mixed.read_sizes()
    for seed in range(2):
        shown = [job.size for job in mixed.traffic(sizes, 1.0, 2 * len(sizes), bool(seed), seed)]
        assert sorted(shown) == sorted(sizes * 2)


@pytest.mark.slow
def test_the_program_prints_the_figures_of_the_targets():
    words = [sys.executable, str(BENCHMARKS / "mixed.py"), "--jobs", "8", "--seeds", "1", "--steps", "2", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=BENCHMARKS.parent)
    figures = json.loads(done.stdout)
    targets = {"throughput_of_ideal", "p95_over_before", "p95_over_job_batching"}
    assert set(figures) == targets | {"p95_over_job_batching_fitted"}
    assert all(0 < figure < 100 for figure in figures.values())
