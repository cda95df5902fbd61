"""Ends a process when its parent ends, however that ends.  It uses prctl, so it works on Linux only.

The signal follows the thread that started the child: it comes when that thread ends, even if its process lives on.
Start children with `processes.living_thread.start_child`, or from the main thread.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel for a signal when the parent ends; exit at once where it has ended.  Call this in the child."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(0)


def prefer_as_victim(score: int = 500) -> None:
    """Let the kernel kill this process before its parent when memory is short.  Call this in the child."""
    with contextlib.suppress(OSError):  # not on Linux, or not allowed
        Path("/proc/self/oom_score_adj").write_text(str(score))
