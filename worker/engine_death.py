"""Explains why an engine child ended: for the log, for /readyz, and for a job that was in it too often."""

import signal
from dataclasses import dataclass

from jobs.record import Failure
from processes.memory_limits import Memory

OUT_OF_MEMORY = "out-of-memory"
DEVICE_BROKEN_EXIT_CODE, MEMORY_EXIT_CODE = 70, 71
"""With which an engine ends itself."""
MEMORY_HINT = "scale the image down, or use a worker with more memory"


@dataclass(frozen=True)
class EngineDeath:
    """Why a child ended, in words after "the engine"; `failure` ends a job that was in it at MAX_DEATHS deaths."""

    why: str
    failure: Failure

    @property
    def for_memory(self) -> bool:
        return self.failure.code == OUT_OF_MEMORY


def explain_death(
    exit_code: int | None, hang: str | None, kills: tuple[int | None, int | None], of: Memory
) -> EngineDeath:
    """Returns the cause of a death.

    Args:
        exit_code: of the child; negative: the signal that killed it; None: it did not end by itself.
        hang: why the watchdog killed it, if it did.
        kills: how often the kernel had killed for lack of memory when the child started, and now; None: unknown.
        of: the memory of this machine.
    """
    if hang is not None:
        detail = f"the engine stopped making progress, twice, while it ran this job: {hang}"
        return EngineDeath(f"hung: {hang}", _poison(detail))
    before, now = kills
    if exit_code == -signal.SIGKILL and (before is None or now is None or now != before):
        limit = f" (the limit is {of.limit_bytes / 2**30:.1f} GiB)" if of.limit_bytes else ""
        surely = "was killed for lack of memory" if now is not None else "was killed, probably for lack of memory"
        detail = f"the engine {surely}{limit}, twice, while it ran this job"
        return EngineDeath(surely + limit, Failure(code=OUT_OF_MEMORY, detail=detail, hint=MEMORY_HINT))
    if exit_code == MEMORY_EXIT_CODE:
        detail = "the engine had no memory left, twice, while it ran this job"
        return EngineDeath("had no memory left", Failure(code=OUT_OF_MEMORY, detail=detail, hint=MEMORY_HINT))
    if exit_code is None:
        detail = "two workers or engines stopped answering while they ran this job"
        return EngineDeath("closed its pipe, did not end and was killed", _poison(detail))
    return EngineDeath(
        f"ended with exit code {exit_code}{_meaning(exit_code)}",
        _poison("two workers or engines died while they ran this job"),
    )


def _meaning(exit_code: int) -> str:
    """Returns in brackets what an exit code says; "" where it says nothing."""
    if exit_code == -signal.SIGKILL:
        return " (SIGKILL; the kernel did not send it for lack of memory)"
    if exit_code == DEVICE_BROKEN_EXIT_CODE:
        return " (an error of the device)"
    try:
        return f" ({signal.Signals(-exit_code).name})"
    except ValueError:
        return ""


def cannot_load(death: EngineDeath, loads: int) -> Failure:
    """Returns how jobs end whose only worker has no memory for its engine: it died `loads` times while it loaded."""
    detail = f"the engine {death.why} each time it loaded, {loads} times in a row, so no image can be restored"
    return Failure(code=OUT_OF_MEMORY, detail=detail, hint="give the worker more memory, or serve fewer bundles")


def _poison(detail: str) -> Failure:
    return Failure(code="poison-suspected", detail=detail, hint="try another image or a smaller one")
