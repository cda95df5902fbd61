"""A signal ends a command wherever it arrives, also where Python ignores exceptions."""

import os
import signal
import subprocess
import sys

import pytest

PLACES = {
    "plain code": "busy()",
    "a finalizer": "Thing()",
    "a weak reference": "thing = Plain(); ref = weakref.ref(thing, lambda _: busy()); del thing",
    "a garbage collection": "gc.callbacks[:] = [lambda phase, _: busy()]; gc.collect(); gc.callbacks.clear()",
}
GO_ON = """
while True: time.sleep(0.01)
"""
SCRIPT = """
import gc, os, time, weakref
from cli.signals import end_on_signals

def busy():
    os.write(1, b"x")
    until = time.monotonic() + 1
    while time.monotonic() < until: pass

class Plain: pass
class Thing:
    def __del__(self): busy()

end_on_signals()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_ends_the_process_wherever_it_arrives(place, number):
    words = [sys.executable, "-c", SCRIPT + PLACES[place] + GO_ON]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as child:
        assert child.stdout.read(1) == b"x"
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert child.returncode == (143 if number is signal.SIGTERM else -signal.SIGINT), err.decode()
