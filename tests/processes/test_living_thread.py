"""A child of a short-lived thread lives on, and ends with its process."""

import multiprocessing
import os
import sys
import threading
import time

import pytest

from processes.living_thread import start_child
from processes.parent_death import die_with_parent


def serve(parent: int, connection) -> None:
    """The child."""
    die_with_parent(parent)
    connection.send("ready")
    connection.recv()
    connection.send("still here")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_a_child_outlives_the_thread_that_asked_for_it():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(os.getpid(), theirs), daemon=True)
    starter = threading.Thread(target=start_child, args=(process,))
    starter.start()
    starter.join()
    assert ours.recv() == "ready"
    time.sleep(0.1)  # the signal of a thread that has ended would have come
    ours.send("?")
    assert ours.poll(30) and ours.recv() == "still here"
    process.join(30)


def test_an_error_of_the_start_reaches_the_thread_that_asked():
    process = multiprocessing.get_context("spawn").Process(target=print, daemon=True)
    errors = []

    def start_twice():
        try:
            start_child(process)
            start_child(process)
        except AssertionError as error:
            errors.append(error)

    thread = threading.Thread(target=start_twice)
    thread.start()
    thread.join()
    process.join(30)
    assert len(errors) == 1, "a process starts once"
