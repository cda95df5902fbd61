"""Why an engine child ended, and which failure its job gets."""

import pytest

from processes.memory_limits import Memory
from worker.engine_death import explain_death

HERE = Memory(available_bytes=2**30, limit_bytes=3 * 2**29)


@pytest.mark.parametrize(
    ("exit_code", "hang", "kills", "code"),
    [
        (-9, None, (2, 3), "out-of-memory"),
        (-9, None, (None, None), "out-of-memory"),
        (-9, None, (2, 2), "poison-suspected"),  # the kernel counts, and it did not kill
        (-11, None, (2, 3), "poison-suspected"),
        (70, None, (2, 2), "poison-suspected"),
        (71, None, (2, 2), "out-of-memory"),  # the engine's own word
        (None, None, (2, 2), "poison-suspected"),
        (-9, "it did not answer for 120 s", (2, 3), "poison-suspected"),  # we killed it
    ],
)
def test_the_cause_of_a_death_is_the_failure_of_its_job(exit_code, hang, kills, code):
    death = explain_death(exit_code, hang, kills, HERE)
    assert death.failure.code == code
    assert death.failure.hint and death.why
    assert ("1.5 GiB" in death.failure.detail) == (code == "out-of-memory" and exit_code == -9)
    assert hang is None or hang in death.failure.detail


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [(-11, "(SIGSEGV)"), (-9, "kernel did not send it"), (70, "error of the device"), (3, "code 3"), (-250, "-250")],
)
def test_a_death_says_what_its_exit_code_means(exit_code, words):
    assert words in explain_death(exit_code, None, (2, 2), HERE).why
