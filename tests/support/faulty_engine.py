"""An engine child whose restorer fails in every way that processes and devices do: the real child over a fake restorer.

`main` takes the place of worker.engine_child.main in the child.  The seed of a job chooses its fault, see FAULTS.  The
folder of the bundle tells the child what else to do: a file `dies-at-start` ends it before it has loaded, each line of
`starts` is a start, and `hung` says that one job has hung already.
"""

import os
import signal
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from fakes import FakeImage, FakeRestorer, return_input

from models.pixels import floats
from worker import engine_child
from worker.engine import Engine
from worker.engine_config import EngineConfig
from worker.engine_entry import Resident
from worker.messages import Loaded, Ready
from worker.picking import BatchLimits

BUNDLE = "fake"
EXIT_CODE = 3
FAULTS = ("none", "exit", "segv", "kill", "assert", "triton", "leaves", "nan", "inf", "oom", "hang", "leak", "fails")
LEAK_BYTES = 150 * 2**20


def main(connection: Connection, config: EngineConfig, parent: int) -> None:
    """The entry of the child."""
    from worker import engine_startup

    engine_startup.start_engine = start_engine
    engine_child.main(connection, config, parent)


def start_engine(send, config: EngineConfig) -> Engine:
    folder = config.bundles[BUNDLE]
    with (folder / "starts").open("a") as starts:
        starts.write("started\n")
    if (folder / "dies-at-start").exists():
        os._exit(EXIT_CODE)
    restorer = FakeRestorer(at_step=partial(fail, folder, []), result=spoil)
    loaded = Loaded(
        name=BUNDLE, family="fake", version="1", license="", degradations=(), max_batch=2, budget_mp=100.0, load_s=0.0
    )
    send(Ready(device="cpu", why="for a test", bundles=(loaded,)))
    return Engine({BUNDLE: Resident(restorer, BatchLimits(max_batch=2, megapixels=100.0))}, send)


def fail(folder: Path, leaked: list[bytearray], tracks: list) -> None:
    faults = {FAULTS[track.name] for track in tracks}
    if "exit" in faults:
        os._exit(EXIT_CODE)
    for fault, number in (("segv", signal.SIGSEGV), ("kill", signal.SIGKILL)):
        if fault in faults:
            os.kill(os.getpid(), number)
    if "assert" in faults:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")
    if "triton" in faults:
        raise RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered")
    if "leaves" in faults:
        raise SystemExit(EXIT_CODE)
    if "oom" in faults:
        raise torch.AcceleratorError("CUDA error: out of memory")
    if "fails" in faults:
        raise ValueError("no such thing")
    if "leak" in faults:
        leaked.append(bytearray(b"\1") * LEAK_BYTES)
    if "hang" in faults and not (folder / "hung").exists():
        (folder / "hung").touch()
        time.sleep(10**6)


def spoil(image: FakeImage) -> torch.Tensor:
    bad = {"nan": float("nan"), "inf": float("inf")}.get(FAULTS[image.name])
    if bad is None:
        return return_input(image)
    picture = floats(image.request.image).clone()
    picture[0, 0, 0] = bad
    return picture
