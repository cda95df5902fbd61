"""The supervisor's process never loads torch."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "worker.supervisor",
        "worker.engine_link",
        "worker.job_run",
        "worker.engine_child",
        "models.photo.codec_pool",
        "worker.metrics",
    ],
)
def test_a_module_of_the_supervisor_does_not_load_torch(module):
    script = f"import {module}, sys\nassert 'torch' not in sys.modules, 'torch is loaded'"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
