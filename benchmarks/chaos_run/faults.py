"""Injects one fault into a place, waits, and heals it.  Faults may overlap, but each part is in one fault at a time."""

import asyncio
import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
from redis.exceptions import RedisError
from sentinel_trio import SERVICE, Server

from chaos_run.parts import END_S, Part
from chaos_run.place import Place
from chaos_run.schedule import KINDS, Fault

DECODER_WAIT_S = 2.0
BALLAST = "ballast"
FULL_BYTES_LEFT = 4096
CLOCK_JUMPS = ("-40", "-5", "+5", "+40")
"""Seconds: more than two leases in both directions."""


class Skipped(Exception):
    """The fault cannot be injected now; the message says why."""


class Faults:
    """Injects faults.  `seed` draws what a schedule leaves open."""

    def __init__(self, place: Place, seed: int) -> None:
        self.place, self.random = place, random.Random(seed)
        self._busy: set[str] = set()
        self._kinds: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill-api": self._kill_part, "kill-worker": self._kill_part, "kill-webhooks": self._kill_part,
            "pause-api": self._pause_part, "pause-worker": self._pause_part, "pause-webhooks": self._pause_part,
            "kill-engine": self._hit_child, "pause-engine": self._hit_child,
            "kill-decoder": self._hit_child, "pause-decoder": self._hit_child,
            "kill-redis": self._kill_redis, "pause-redis": self._pause_redis, "restart-redis": self._kill_redis,
            "failover-kill": self._kill_redis, "failover-pause": self._pause_redis, "failover-asked": self._failover,
            "link-cut": self._link, "link-half-open": self._link, "link-requests-lost": self._link,
            "link-answers-lost": self._link, "link-slow": self._link,
            "store-500": self._store_front, "store-slow": self._store_front, "store-cut": self._store_front,
            "store-full": self._store_full, "store-read-only": self._store_read_only,
            "redis-disk-full": self._redis_disk_full, "redis-memory-full": self._redis_memory_full,
            "scale-to-zero": self._scale_to_zero, "deploy": self._deploy, "clock-jump": self._clock_jump,
        }  # fmt: skip

    async def inject(self, fault: Fault) -> None:
        """Inject a fault and heal it; returns after that.

        Raises:
            Skipped: what it needs is in another fault's hands, or is not there.
        """
        if missing := KINDS[fault.kind].needs - self.place.have:
            raise Skipped(f"this run has no {', '.join(sorted(missing))}")
        held = self._hold(fault)
        if taken := held & self._busy:
            raise Skipped(f"{', '.join(sorted(taken))} is in another fault")
        self._busy |= held
        parts = [part for name, part in self.place.parts.items() if name in held]
        for part in parts:
            part.busy = True
        try:
            await self._kinds[fault.kind](fault)
        finally:
            for part in parts:
                part.send(signal.SIGCONT)
                part.busy = False
            self._busy -= held

    def _hold(self, fault: Fault) -> set[str]:
        """Returns the names of what a fault has in its hands."""
        kind = fault.kind
        if "redis" in kind or "failover" in kind:
            return {"redis"}
        if kind.startswith("link"):
            return {f"link-{fault.target}"}
        if kind.startswith("store"):
            return {"store"}
        if kind == "scale-to-zero":
            return {part.name for part in self.place.of_kind("worker")}
        if kind == "deploy":
            return set(self.place.parts)
        if kind == "clock-jump":
            return {f"clock-{fault.target}"}
        return {self._part(fault).name}

    def _part(self, fault: Fault) -> Part:
        what = fault.kind.partition("-")[2]
        return self.place.of_kind("worker" if what in ("engine", "decoder") else what)[fault.target]

    async def _kill_part(self, fault: Fault) -> None:
        part = self._part(fault)
        await asyncio.to_thread(part.kill)
        await asyncio.sleep(fault.lasts_s)
        self.place.start_part(part)

    async def _pause_part(self, fault: Fault) -> None:
        part = self._part(fault)
        part.send(signal.SIGSTOP)
        await asyncio.sleep(fault.lasts_s)
        part.send(signal.SIGCONT)

    async def _hit_child(self, fault: Fault) -> None:
        action, _, kind = fault.kind.partition("-")
        part, until_s = self._part(fault), time.monotonic() + DECODER_WAIT_S
        while not (children := part.children().get(kind)):
            if time.monotonic() > until_s:
                raise Skipped(f"{part.name} has no {kind} now")
            await asyncio.sleep(0.05)
        child = self.random.choice(children)
        with contextlib.suppress(psutil.NoSuchProcess):
            if action == "kill":
                child.kill()
                return
            child.suspend()
            await asyncio.sleep(fault.lasts_s)
            child.resume()

    async def _kill_redis(self, fault: Fault) -> None:
        server = await asyncio.to_thread(self.place.primary)
        if fault.kind == "restart-redis":
            server.process.terminate()
            await asyncio.to_thread(server.process.wait, END_S)
        else:
            await asyncio.to_thread(server.kill)
        await asyncio.sleep(fault.lasts_s)
        await _start_again(server)

    async def _pause_redis(self, fault: Fault) -> None:
        server = await asyncio.to_thread(self.place.primary)
        server.pause()
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            server.resume()

    async def _failover(self, fault: Fault) -> None:
        assert self.place.trio is not None
        with contextlib.suppress(RedisError, OSError), self.place.trio.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)

    async def _link(self, fault: Fault) -> None:
        link, net = self.place.links[fault.target], self.place.net
        mode = fault.kind.removeprefix("link-")
        if mode == "half-open":
            await asyncio.to_thread(net.run, link.half_open)
            return
        await asyncio.to_thread(net.run, link.hurt, mode)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            net.run(link.hurt, "open")

    async def _store_front(self, fault: Fault) -> None:
        link, net = self.place.store_link, self.place.net
        assert link is not None
        mode = {"store-500": "error", "store-slow": "slow", "store-cut": "cut"}[fault.kind]
        await asyncio.to_thread(net.run, link.hurt, mode)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            net.run(link.hurt, "open")

    async def _store_full(self, fault: Fault) -> None:
        with _filled(self.place.disks["store"]):
            await asyncio.sleep(fault.lasts_s)

    async def _store_read_only(self, fault: Fault) -> None:
        disk = str(self.place.disks["store"])
        remount = await _run("mount", "-o", "remount,ro", disk)
        if remount != 0:
            raise Skipped("the disk of the store is busy, and cannot be read-only")
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await _run("mount", "-o", "remount,rw", disk)

    async def _redis_disk_full(self, fault: Fault) -> None:
        """Redis ends where it cannot write its file and promises `appendfsync always`; it is started with room."""
        server = self.place.primary()
        with _filled(self.place.disks["redis"]):
            await asyncio.sleep(fault.lasts_s)
        if server.process.poll() is not None:
            await _start_again(server)

    async def _redis_memory_full(self, fault: Fault) -> None:
        server = self.place.primary()
        with server.client() as client:
            before = client.config_get("maxmemory")["maxmemory"]
            client.config_set("maxmemory", "1mb")
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            with server.client() as client:
                client.config_set("maxmemory", before)

    async def _scale_to_zero(self, fault: Fault) -> None:
        workers = self.place.of_kind("worker")
        for part in workers:
            part.send(signal.SIGTERM)
        await asyncio.gather(*(self._ended(part) for part in workers))
        await asyncio.sleep(fault.lasts_s)
        for part in workers:
            self.place.start_part(part)

    async def _deploy(self, fault: Fault) -> None:
        """Replace one part after the other by one with the other version of the bundle."""
        self.place.version = 1 - self.place.version
        for part in list(self.place.parts.values()):
            part.send(signal.SIGTERM)
            await self._ended(part)
            self.place.start_part(part)
            await asyncio.sleep(0.5)

    async def _ended(self, part: Part) -> None:
        """Wait for the end of a part; one that does not end in END_S is a surprise, and is killed."""
        until_s = time.monotonic() + END_S
        while part.running:
            if time.monotonic() > until_s:
                self.place.surprises.append(f"{part.name} has not ended {END_S:g} s after SIGTERM; see {part.log}")
                await asyncio.to_thread(part.kill)
            await asyncio.sleep(0.05)

    async def _clock_jump(self, fault: Fault) -> None:
        name = ("api-1", "worker-2")[fault.target]
        self.place.clock_file(name).write_text(self.random.choice(CLOCK_JUMPS))
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            self.place.clock_file(name).write_text("+0")


async def _start_again(server: Server) -> None:
    """Start Redis in this thread, whose end would end it, and wait outside of the loop."""
    if server.process.poll() is None:
        return
    server.start()


class _filled:
    """Fills a disk but for a few bytes, and frees it."""

    def __init__(self, disk: Path) -> None:
        self.file = disk / BALLAST

    def __enter__(self) -> None:
        with contextlib.suppress(OSError), self.file.open("wb", buffering=0) as file:
            block = b"\0" * (1 << 20)
            while block:
                try:
                    while file.write(block) == len(block):
                        pass
                except OSError:  # full: what is left may take a smaller block
                    pass
                block = block[: len(block) // 2] if len(block) > FULL_BYTES_LEFT else b""

    def __exit__(self, *error: object) -> None:
        self.file.unlink(missing_ok=True)


async def _run(*words: str) -> int:
    return (await asyncio.to_thread(subprocess.run, words, capture_output=True, check=False)).returncode
