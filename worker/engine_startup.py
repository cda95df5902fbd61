"""Starts the engine in its child process: loads the bundles, proves each on its golden image, measures the memory."""

import time
from collections.abc import Callable
from dataclasses import replace

import psutil
import torch

from jobs.record import Degradation
from models import golden
from models.bundle import Manifest, manifest_sha256, read_manifest
from models.controls import Controls
from models.device import Speed, bound_memory, choose_device, free_bytes
from models.device_facts import device_facts
from models.device_memory import bound_note, room_for
from models.drive import restore_one
from models.families import load_restorer, memory_needed
from models.prompt_plan import style_of
from models.restorer import Request, Restorer
from processes.memory_limits import memory
from worker.device_memory import DeviceMemory
from worker.engine import Engine
from worker.engine_config import EngineConfig
from worker.engine_entry import Resident
from worker.engine_timer import CudaTimer
from worker.engine_transfers import Transfers
from worker.messages import Answer, Loaded, Ready
from worker.picking import BatchLimits

MEMORY_SHARE = 0.6
"""The share of the memory that is free after loading which batches may take."""
PICTURE_SHARE = 0.25
"""The share of a CUDA device's free memory that whole pictures may take; further ones stay in host memory."""
PROBE_PX = {"cuda": 512, "cpu": 256}
"""Side of the image that measures the memory; on a CPU a full-size model needs a minute for 512."""
MIN_IMAGE_BYTES, MIN_BUDGET_MP = 64 * 2**20, 0.25
MAX_BATCH_ON_CUDA = 8
WARMED = ((1, 512, 512), (1, 768, 1024))
"""Images, height and width for which the network is prepared before the first job; others when they come often."""


def start_engine(send: Callable[[Answer], None], config: EngineConfig) -> Engine:
    """Load everything, send Ready, and return the engine.

    Raises:
        ModelsError: a bundle or the device cannot be used, or a golden image came out wrong.
        MemoryError, OSError, RuntimeError: torch or the operating system failed.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    chosen = choose_device(config.device)
    bound_memory(chosen.device, config.device_memory_gib)
    speed = Speed.of(chosen.device, config.cuda_graphs, config.compile)
    needs = {name: memory_needed(folder, speed) for name, folder in config.bundles.items()}
    with room_for(needs, chosen, config.device_memory_gib):
        residents, loaded = _load(config, chosen.device, speed)
    why = chosen.why + bound_note(chosen.device, config.device_memory_gib)
    facts = device_facts(chosen.device)
    ready = Ready(
        device=str(chosen.device), why=why, bundles=loaded, device_name=facts.name, driver=facts.driver,
        device_bytes=facts.total_bytes,
    )  # fmt: skip
    send(ready)
    if chosen.device.type != "cuda":
        return Engine(residents, send)
    transfers = Transfers(chosen.device, int(PICTURE_SHARE * free_bytes(chosen.device, config.device_memory_gib)))
    device_memory = DeviceMemory(chosen.device, config.device_memory_gib)
    return Engine(residents, send, timer=CudaTimer(chosen.device), transfers=transfers, memory=device_memory)


def _load(config: EngineConfig, device: torch.device, speed: Speed) -> tuple[dict[str, Resident], tuple[Loaded, ...]]:
    """Load all bundles, then prove them one after the other."""
    restorers, loading_s = {}, {}
    for name, folder in config.bundles.items():
        start_s = time.monotonic()
        restorers[name] = load_restorer(folder, device, speed)
        loading_s[name] = time.monotonic() - start_s
    residents, loaded, folders = {}, [], config.bundles
    for name, restorer in restorers.items():  # all bundles take their memory before the rest is measured
        start_s, manifest = time.monotonic(), read_manifest(config.bundles[name])
        limits = _prove(restorer, config, name, manifest, device)
        residents[name] = Resident(restorer, limits, credit=manifest.credit)
        load_s = loading_s[name] + time.monotonic() - start_s
        loaded.append(replace(_loaded(name, manifest, restorer, limits, load_s), sha256=manifest_sha256(folders[name])))
    return residents, tuple(loaded)


def _loaded(name: str, manifest: Manifest, restorer: Restorer, limits: BatchLimits, load_s: float) -> Loaded:
    degradations = tuple(
        Degradation(name=entry.name, prompt=entry.prompt, fidelity=entry.fidelity)
        for entry in manifest.degradations
        if entry.name in restorer.names
    )
    return Loaded(
        name=name, family=manifest.family, version=manifest.version, license=manifest.license,
        credit=manifest.credit, prompts=style_of(manifest.networks, manifest.prompts),
        max_batch=limits.max_batch, budget_mp=round(limits.megapixels, 2), load_s=load_s, degradations=degradations,
    )  # fmt: skip


def _prove(
    restorer: Restorer, config: EngineConfig, name: str, manifest: Manifest, device: torch.device
) -> BatchLimits:
    """Prepare a restorer, check its golden image, and return its limits."""
    on_cuda = device.type == "cuda"
    restorer.warm_up(WARMED if on_cuda else ())
    golden.check(restorer, config.bundles[name], manifest)
    max_batch = config.max_batch or (MAX_BATCH_ON_CUDA if on_cuda else 1)
    return BatchLimits(max_batch=max_batch, megapixels=config.budget_mp or _budget_mp(restorer, device, config))


def _budget_mp(restorer: Restorer, device: torch.device, config: EngineConfig) -> float:
    """Returns how many megapixels fit into a batch: the free memory divided by the peak of one probe image."""
    process = psutil.Process()
    side = PROBE_PX.get(device.type, 512)
    image = torch.zeros(3, side, side)
    on_cuda = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_cuda else process.memory_info().rss
    if on_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    restore_one(restorer, Request(image=image, controls=Controls(prompt="noise", best_effort=True, steps=1)))
    if on_cuda:
        used = torch.cuda.max_memory_allocated(device) - before
        free = free_bytes(device, config.device_memory_gib)
    else:
        used, free = process.memory_info().rss - before, memory().available_bytes
    bytes_per_mp = max(used, MIN_IMAGE_BYTES) / (side**2 / 1e6)
    return float(max(MIN_BUDGET_MP, MEMORY_SHARE * free / bytes_per_mp))
