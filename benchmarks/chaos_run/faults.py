"""Injects one fault into a place, waits, and heals it.  Faults may overlap, but each part is in one fault at a time.

Each fault tells what was seen of it (the exit code of what was killed, the error of a write to the full disk), so that
a run does not count faults that never happened.
"""

import asyncio
import contextlib
import errno
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
from redis.exceptions import RedisError
from sentinel_trio import SERVICE, Server

from chaos_run.links import Link
from chaos_run.parts import END_S, Part
from chaos_run.place import CLOCKS, Place
from chaos_run.schedule import KINDS, Fault

CHILD_WAIT_S = 30.0
"""An engine that was killed is back after its torch is imported; a decoder comes with the first picture."""
TURN_S = 30.0
"""How long a fault waits for what another fault has in its hands."""
READY_S = 90.0
"""How long a deploy waits for a part before it replaces the next one."""
FAILED_OVER_S = 20.0
BALLAST = "ballast"
FULL_BYTES_LEFT = 4096
CLOCK_JUMPS = (-40, -5, 5, 40)
"""Seconds: more than two leases in both directions."""


class Skipped(Exception):
    """The fault cannot be injected now; the message says why."""


class _Hands:
    """What is in the hands of faults."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._taken: set[str] = set()

    @contextlib.asynccontextmanager
    async def holding(self, names: set[str]) -> AsyncIterator[list[Part]]:
        """Wait for some things and have them; yields those that are parts, which may end now and go on afterwards.

        Raises:
            Skipped: other faults have kept them for TURN_S.
        """
        until_s = time.monotonic() + TURN_S
        while taken := names & self._taken:
            if time.monotonic() > until_s:
                raise Skipped(f"{', '.join(sorted(taken))} is in another fault")
            await asyncio.sleep(0.05)
        self._taken |= names
        parts = [part for name, part in self.place.parts.items() if name in names]
        for part in parts:
            part.busy = True
        try:
            yield parts
        finally:
            for part in parts:
                part.send(signal.SIGCONT)
                part.busy = False
            self._taken -= names


class Faults:
    """Injects faults.  `seed` draws what a schedule leaves open."""

    def __init__(self, place: Place, seed: int) -> None:
        self.place, self.random = place, random.Random(seed)
        self._hands = _Hands(place)
        self._kinds: dict[str, Callable[[Fault], Awaitable[str]]] = {
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

    async def inject(self, fault: Fault) -> str:
        """Inject a fault and heal it.  Returns what was seen of it.

        Raises:
            Skipped: what it needs is in another fault's hands or is not there, or it had no effect.
        """
        if missing := KINDS[fault.kind].needs - self.place.have:
            raise Skipped(f"this run has no {', '.join(sorted(missing))}")
        async with self._hands.holding(self._hold(fault)):
            return await self._kinds[fault.kind](fault)

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
            return {"deploy"}  # it takes one part after the other
        if kind == "clock-jump":
            return {f"clock-{fault.target}"}
        return {self._part(fault).name}

    def _part(self, fault: Fault) -> Part:
        what = fault.kind.partition("-")[2]
        return self.place.of_kind("worker" if what in ("engine", "decoder") else what)[fault.target]

    async def _kill_part(self, fault: Fault) -> str:
        part = self._part(fault)
        await asyncio.to_thread(part.kill)
        seen = f"{part.name} ended with code {part.code}"
        await asyncio.sleep(fault.lasts_s)
        self.place.start_part(part)
        return seen

    async def _pause_part(self, fault: Fault) -> str:
        part = self._part(fault)
        if part.process is None or not part.running:
            raise Skipped(f"{part.name} does not run")
        part.send(signal.SIGSTOP)
        seen = await _stopped(psutil.Process(part.process.pid))
        await asyncio.sleep(fault.lasts_s)
        part.send(signal.SIGCONT)
        return f"{part.name} {seen}"

    async def _hit_child(self, fault: Fault) -> str:
        action, _, kind = fault.kind.partition("-")
        part, until_s = self._part(fault), time.monotonic() + CHILD_WAIT_S
        while not (children := part.children().get(kind)):
            if time.monotonic() > until_s:
                raise Skipped(f"{part.name} has no {kind} now")
            await asyncio.sleep(0.05)
        child = self.random.choice(children)
        try:
            if action == "kill":
                child.kill()
                return f"{kind} {child.pid} of {part.name} killed"
            child.suspend()
            seen = await _stopped(child)
            await asyncio.sleep(fault.lasts_s)
        except psutil.NoSuchProcess:
            raise Skipped(f"the {kind} of {part.name} has just ended") from None
        with contextlib.suppress(psutil.NoSuchProcess):  # its supervisor has killed it, because it hung
            child.resume()
        return f"{kind} {child.pid} of {part.name} {seen}"

    async def _kill_redis(self, fault: Fault) -> str:
        server = await asyncio.to_thread(self.place.primary)
        if fault.kind == "restart-redis":
            server.process.terminate()
            await asyncio.to_thread(server.process.wait, END_S)
        else:
            await asyncio.to_thread(server.kill)
        seen = f"Redis ended with code {server.process.returncode}"
        await asyncio.sleep(fault.lasts_s)
        if self.place.trio is not None:
            seen += await self._failed_over(server)
        await _start_again(server)
        return seen

    async def _pause_redis(self, fault: Fault) -> str:
        server = await asyncio.to_thread(self.place.primary)
        server.pause()
        try:
            seen = f"Redis {await _stopped(psutil.Process(server.process.pid))}"
            await asyncio.sleep(fault.lasts_s)
            if self.place.trio is not None:
                seen += await self._failed_over(server)
        finally:
            server.resume()
        return seen

    async def _failover(self, fault: Fault) -> str:
        assert self.place.trio is not None
        before = await asyncio.to_thread(self.place.primary)
        try:
            with self.place.trio.sentinels[0].client() as client:
                client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        except (RedisError, OSError) as error:  # for one, NOGOODSLAVE while the replica loads
            raise Skipped(f"the Sentinel said: {error}") from error
        return f"asked{await self._failed_over(before)}"

    async def _failed_over(self, before: Server) -> str:
        """Returns what became of the primary; a replica that was not in step is not made primary."""
        until_s = time.monotonic() + FAILED_OVER_S
        while (now := await asyncio.to_thread(self.place.primary)) is before:
            if time.monotonic() > until_s:
                return ", no failover"
            await asyncio.sleep(0.1)
        return f", {before.port} -> {now.port}"

    async def _link(self, fault: Fault) -> str:
        link, net = self.place.links[fault.target], self.place.net
        mode = fault.kind.removeprefix("link-")
        if mode == "half-open":
            await asyncio.to_thread(net.run, link.half_open)
            return f"{link.hits} connections are silent"
        return await self._hurt(link, mode, fault.lasts_s)

    async def _store_front(self, fault: Fault) -> str:
        link = self.place.store_link
        assert link is not None
        mode = {"store-500": "error", "store-slow": "slow", "store-cut": "cut"}[fault.kind]
        return await self._hurt(link, mode, fault.lasts_s)

    async def _hurt(self, link: Link, mode: str, lasts_s: float) -> str:
        net = self.place.net
        await asyncio.to_thread(net.run, link.hurt, mode)
        try:
            await asyncio.sleep(lasts_s)
            hits = link.hits
        finally:
            await asyncio.to_thread(net.run, link.hurt, "open")
        if not hits:
            raise Skipped("nothing came over the link meanwhile")
        return f"{hits} {'connections' if mode == 'cut' else 'answers' if mode == 'error' else 'reads'} hit"

    async def _store_full(self, fault: Fault) -> str:
        return await self._full(self.place.disks["store"], fault.lasts_s)

    async def _full(self, disk: Path, lasts_s: float) -> str:
        """Keep a disk full: what is deleted meanwhile makes room, which is taken at once."""
        until_s = time.monotonic() + lasts_s
        with _filled(disk) as filled:
            refused = _write_error(disk)
            while time.monotonic() < until_s:
                await asyncio.sleep(0.1)
                filled.fill()
        if refused != "ENOSPC":
            raise Skipped(f"the disk was not full: a write met {refused}")
        return refused

    async def _store_read_only(self, fault: Fault) -> str:
        disk = self.place.disks["store"]
        until_s = time.monotonic() + TURN_S
        while await _run("mount", "-o", "remount,ro", str(disk)) != 0:  # while a file is open for writing
            if time.monotonic() > until_s:
                raise Skipped("the disk of the store is busy, and cannot be read-only")
            await asyncio.sleep(0.05)
        try:
            refused = _write_error(disk)
            await asyncio.sleep(fault.lasts_s)
        finally:
            await _run("mount", "-o", "remount,rw", str(disk))
        if refused != "EROFS":
            raise Skipped(f"the disk was not read-only: a write met {refused}")
        return refused

    async def _redis_disk_full(self, fault: Fault) -> str:
        """Redis ends where it cannot write its file and promises `appendfsync always`; it is started with room."""
        server = self.place.primary()
        seen = await self._full(self.place.disks["redis"], fault.lasts_s)
        if server.process.poll() is None:
            return f"{seen}, Redis wrote nothing"
        seen += f", Redis ended with code {server.process.returncode}"
        await _start_again(server)
        return seen

    async def _redis_memory_full(self, fault: Fault) -> str:
        server, refused = self.place.primary(), "no error"
        with server.client() as client:
            before = client.config_get("maxmemory")["maxmemory"]
            client.config_set("maxmemory", "1mb")
            try:
                client.set("chaos", "x", ex=1)
            except RedisError as error:
                refused = str(error)[:30]
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            with server.client() as client:
                client.config_set("maxmemory", before)
        return refused

    async def _scale_to_zero(self, fault: Fault) -> str:
        workers = self.place.of_kind("worker")
        for part in workers:
            part.send(signal.SIGTERM)
        await asyncio.gather(*(self._ended(part) for part in workers))
        seen = f"ended with codes {[part.code for part in workers]}"
        await asyncio.sleep(fault.lasts_s)
        for part in workers:
            self.place.start_part(part)
        return seen

    async def _deploy(self, fault: Fault) -> str:
        """Replace one part after the other by one with the other version of the bundle, as soon as it is ready."""
        self.place.version = 1 - self.place.version
        codes = []
        for part in list(self.place.parts.values()):
            async with self._hands.holding({part.name}):
                part.send(signal.SIGTERM)
                await self._ended(part)
                codes.append(part.code)
                self.place.start_part(part)
                with contextlib.suppress(TimeoutError):  # Redis may be away
                    await self.place.until_part_ready(part, READY_S)
        return f"version {self.place.version}, ended with codes {codes}"

    async def _ended(self, part: Part) -> None:
        """Wait for the end of a part; one that does not end in END_S is a surprise, and is killed."""
        until_s = time.monotonic() + END_S
        while part.running:
            if time.monotonic() > until_s:
                self.place.surprises.append(f"{part.name} has not ended {END_S:g} s after SIGTERM; see {part.log}")
                await asyncio.to_thread(part.kill)
            await asyncio.sleep(0.05)

    async def _clock_jump(self, fault: Fault) -> str:
        name, jump = CLOCKS[fault.target], self.random.choice(CLOCK_JUMPS)
        self.place.clocks[name].shift(jump)
        try:
            await asyncio.sleep(fault.lasts_s)
            seen = self.place.parts[name].last_line_s()
        finally:
            self.place.clocks[name].shift(0)
        ahead = "empty" if seen is None else f"{seen - time.time():+.0f} s ahead"
        return f"{name} {jump:+} s, its log is {ahead}"


async def _stopped(process: psutil.Process) -> str:
    """Returns `stopped` when the kernel says so.  Raises Skipped where it does not."""
    status = "gone"
    with contextlib.suppress(psutil.NoSuchProcess):
        for _ in range(100):
            if (status := process.status()) == psutil.STATUS_STOPPED:
                return "stopped"
            await asyncio.sleep(0.01)
    raise Skipped(f"process {process.pid} is {status}, expected stopped")


def _write_error(disk: Path) -> str:
    """Returns the name of the error that a write to a disk meets."""
    probe = disk / "probe-of-chaos"
    try:
        probe.write_bytes(bytes(1 << 16))
        return "no error"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


async def _start_again(server: Server) -> None:
    """Start Redis in this thread, whose end would end it, and wait outside of the loop."""
    if server.process.poll() is None:
        return
    server.start()


class _filled:
    """Fills a disk but for a few bytes, and frees it."""

    def __init__(self, disk: Path) -> None:
        self.file = disk / BALLAST

    def __enter__(self) -> "_filled":
        self.fill()
        return self

    def fill(self) -> None:
        """Take what is free."""
        with contextlib.suppress(OSError), self.file.open("ab", buffering=0) as file:
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
