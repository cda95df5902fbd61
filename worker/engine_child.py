"""The engine child: one process for each device, spawned, with the models resident for its whole life.

It loads its bundles, proves each on the golden image, measures how many megapixels fit, says so, and works until it is
told to stop, the device breaks, or its parent is gone.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from worker.messages import Cancel, Command, Loaded, NotReady, Ready, Stop, Task
from worker.parent_death import die_with_parent
from worker.picking import Limits

BROKEN = 70
"""The exit code after a device error."""
MEMORY_SHARE = 0.6
"""Of what is free after loading, the share that batches may take."""
PROBE_PX = {"cuda": 512, "cpu": 256}
"""Of the picture that measures the memory; on a CPU a full-size model needs a minute for 512."""
TOGETHER_ON_CUDA = 8
WARMED = ((1, 512, 512), (1, 768, 768))
"""Images, height and width that the network is made quick for before the first job; others when they come often."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """What a child needs to know.

    `bundles` gives folders by the names that jobs ask for.  `together` is the most images of a batch; None: 8 on CUDA,
    1 on a CPU, where a batch of usual photos gains next to nothing (docs/decisions/0009) and its rounding would depend
    on its size.
    """

    bundles: Mapping[str, Path]
    device: str = "auto"
    threads: int | None = None
    together: int | None = None
    budget_mp: float | None = None  # None: measured
    cuda_graphs: bool = True


def main(connection: Connection, config: EngineConfig, parent: int) -> None:
    """The process' entry."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor drains; Ctrl-C reaches the whole group
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from models.errors import DeviceError, ModelsError

    try:
        engine = _open(connection, config)
    except ModelsError as error:
        connection.send(NotReady(str(error), of_device=isinstance(error, DeviceError)))
        return
    except (MemoryError, OSError, RuntimeError) as error:
        connection.send(NotReady(f"cannot load the models: {type(error).__name__}: {error}", of_device=True))
        return
    _work(connection, engine)


def _open(connection: Connection, config: EngineConfig):  # type: ignore[no-untyped-def]  # noqa: ANN202 - torch is not loaded yet
    import torch

    from models.bundle import read_manifest
    from models.device import Speed, choose_device
    from models.families import load_restorer
    from worker.engine import Engine, Resident

    if config.threads:
        torch.set_num_threads(config.threads)
    chosen = choose_device(config.device)
    speed = Speed.of(chosen.device, config.cuda_graphs)
    restorers, loading_s = {}, {}
    for name, folder in config.bundles.items():
        start_s = time.monotonic()
        restorers[name] = load_restorer(folder, chosen.device, speed)
        loading_s[name] = time.monotonic() - start_s
    residents, loaded = {}, []
    for name, restorer in restorers.items():  # all are there before what is left is measured
        start_s, manifest = time.monotonic(), read_manifest(config.bundles[name])
        limits = _proved(restorer, config, name, manifest, chosen.device)
        residents[name] = Resident(restorer, limits)
        loaded.append(
            Loaded(
                name=name, family=manifest.family, version=manifest.version, license=manifest.license,
                together=limits.together, budget_mp=round(limits.megapixels, 2),
                load_s=loading_s[name] + time.monotonic() - start_s,
                degradations=tuple(
                    {"name": entry.name, "prompt": entry.prompt, "fidelity": entry.fidelity}
                    for entry in manifest.degradations
                    if entry.name in restorer.names
                ),
            )
        )  # fmt: skip
    connection.send(Ready(device=str(chosen.device), why=chosen.why, bundles=tuple(loaded)))
    return Engine(residents, connection.send)


def _proved(restorer, config, name, manifest, device) -> Limits:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """The limits of a restorer that is quick, and right about the golden image."""
    from models import golden

    on_cuda = device.type == "cuda"
    restorer.warm_up(WARMED if on_cuda else ())
    golden.check(restorer, config.bundles[name], manifest)
    together = config.together or (TOGETHER_ON_CUDA if on_cuda else 1)
    return Limits(together=together, megapixels=config.budget_mp or _budget_mp(restorer, device))


def _budget_mp(restorer, device) -> float:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """How many megapixels fit into a batch: one probe image's peak, set against what is free."""
    import torch

    from models.drive import restore_one
    from models.restorer import Controls, Request

    process = psutil.Process()
    side = PROBE_PX.get(device.type, 512)
    image = torch.zeros(3, side, side)
    on_cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_cuda else process.memory_info().rss
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    restore_one(restorer, Request(image=image, controls=Controls(prompt="noise", steps=1)))
    if on_cuda:
        used, free = torch.cuda.max_memory_allocated(device) - before, torch.cuda.mem_get_info(device)[0]
    else:
        used, free = process.memory_info().rss - before, psutil.virtual_memory().available
    per_megapixel = max(used, 64 * 2**20) / (side**2 / 1e6)
    return float(max(0.25, MEMORY_SHARE * free / per_megapixel))


def _work(connection: Connection, engine) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    from worker.engine import DeviceBroken

    while True:
        while not engine.busy or connection.poll():
            try:
                command: Command = connection.recv()
            except EOFError:
                return
            if isinstance(command, Stop):
                return
            if isinstance(command, Task):
                engine.admit(command)
            elif isinstance(command, Cancel):
                engine.cancel(command.id)
        try:
            engine.turn()
        except DeviceBroken as error:
            print(f"the device is broken: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the last words of a process
            os._exit(BROKEN)
        except (BrokenPipeError, ConnectionResetError):
            return
