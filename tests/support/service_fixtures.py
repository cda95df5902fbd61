"""The fixtures of tests/service for tests of other rooms: a real Valkey, the service on a port, a toy worker."""

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location(
    "service_conftest", Path(__file__).parents[1] / "service" / "conftest.py"
)  # fmt: skip
assert _spec and _spec.loader
_conftest = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _conftest  # its dataclasses look themselves up there
_spec.loader.exec_module(_conftest)

_valkey, valkey, mortal_valkey = _conftest._valkey, _conftest.valkey, _conftest.mortal_valkey
serve, service, toy, worker = _conftest.serve, _conftest.service, _conftest.toy, _conftest.worker
picture, eventually = _conftest.picture, _conftest.eventually
