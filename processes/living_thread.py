"""Starts child processes from a thread that lives as long as this process.

The kernel's parent-death signal follows the thread that started the child, not its process: a child that a short-lived
thread started gets the signal when that thread ends, although the process lives on.
"""

import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from queue import SimpleQueue

_lock = threading.Lock()
_starts: "SimpleQueue[Callable[[], None]] | None" = None


def start_child(process: BaseProcess) -> None:
    """Start a process; from any thread, and it lives on when that thread ends.  Raises what its `start` raises."""
    if threading.current_thread() is threading.main_thread():
        process.start()
        return
    done, errors = threading.Event(), list[BaseException]()

    def start() -> None:
        try:
            process.start()
        except BaseException as error:  # the caller raises it
            errors.append(error)
        finally:
            done.set()

    _living_thread().put(start)
    done.wait()
    if errors:
        raise errors[0]


def _living_thread() -> "SimpleQueue[Callable[[], None]]":
    """The queue of the one thread that starts children for all other threads."""
    global _starts
    with _lock:
        if _starts is None:
            _starts = SimpleQueue()
            threading.Thread(target=_serve, args=(_starts,), name="undegrade-starts-children", daemon=True).start()
        return _starts


def _serve(starts: "SimpleQueue[Callable[[], None]]") -> None:
    while True:
        starts.get()()
