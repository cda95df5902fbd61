"""An engine child whose device breaks once: the real child and engine over a fake restorer.

`main` takes the place of worker.engine_child.main in the child.  The first image whose step runs breaks the device, and
leaves a file by which the next child knows.
"""

from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from fakes import FakeRestorer

from models.device import choose_device
from worker import engine_child
from worker.engine import Engine
from worker.engine_config import EngineConfig
from worker.engine_entry import Resident
from worker.engine_timer import CudaTimer
from worker.engine_transfers import Transfers
from worker.messages import Loaded, Ready
from worker.picking import BatchLimits

BUNDLE = "fake"


def main(connection: Connection, config: EngineConfig, parent: int) -> None:
    """The entry of the child; `config.bundles` holds the file that tells whether the device has broken."""
    from worker import engine_startup

    engine_startup.start_engine = start_engine
    engine_child.main(connection, config, parent)


def start_engine(send, config: EngineConfig) -> Engine:
    device = choose_device(config.device).device
    restorer = FakeRestorer(at_step=partial(break_once, config.bundles[BUNDLE], device))
    loaded = Loaded(
        name=BUNDLE, family="fake", version="1", license="", degradations=(), max_batch=8, budget_mp=100.0, load_s=0.0
    )
    send(Ready(device=str(device), why="for a test", bundles=(loaded,)))
    residents = {BUNDLE: Resident(restorer, BatchLimits(max_batch=8, megapixels=100.0))}
    if device.type != "cuda":
        return Engine(residents, send)
    return Engine(residents, send, timer=CudaTimer(device), transfers=Transfers(device, 2**30))


def break_once(file: Path, device: torch.device, tracks: object) -> None:
    if not file.exists():
        file.touch()
        break_device(device)


def break_device(device: torch.device) -> None:
    """Read beyond the end of a tensor in a kernel; CUDA then refuses all further work of this process."""
    if device.type != "cuda":
        raise RuntimeError("CUDA error: device-side assert triggered")
    torch.zeros(4, device=device)[torch.full((1,), 99, device=device)]
    torch.cuda.synchronize(device)
