"""The step-level engine: admit, pick, step, finish, over any Restorer.

A batch is formed at every denoising step.  A new image joins at the next step, a finished one leaves at once, a
canceled one is dropped between steps, and nobody waits for a batch to fill or for the longest job to end.  Several
bundles, of one family or of several, may be resident: their images take turns in one line, each step is one bundle's.

What goes wrong with one image ends that image.  Out of memory: the batch is halved, then the tile, then that image
fails.  What may have poisoned the device (any other CUDA error) is raised as `DeviceBroken`: the process must end.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch

from models.errors import ControlsError
from models.pixels import to_pixels, to_tensor
from models.restorer import Continues, Controls, Outcome, Report, Request, Restored, Restorer, Track
from worker.messages import Answer, Done, Failed, Passed, Stepped, Task, Turned
from worker.picking import Limits, Waiting, first, next_step

LEAST_TILE_PX = 128
LEARN = 0.1
"""How much of the newest step's speed goes into the running mean."""


class DeviceBroken(Exception):
    """The device may give wrong answers from now on."""


@dataclass(eq=False)
class Resident:
    """A bundle at work.

    Attributes:
        together: how many images fitted into a batch lately; grows back a batch at a time.
        step_s_per_mp: a step's seconds a megapixel of late; tells long work from short.
    """

    restorer: Restorer
    limits: Limits
    together: int = field(init=False)
    step_s_per_mp: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.together = self.limits.together

    def learn(self, s_per_mp: float) -> None:
        self.step_s_per_mp += LEARN * (s_per_mp - self.step_s_per_mp)


@dataclass(eq=False)
class Entry:
    """A task and its tracks."""

    task: Task
    request: Request
    by: Resident
    tracks: list[Track] = field(default_factory=list)  # of this pass, those that are not finished
    tiles: int = 1  # of this pass
    begun: bool = False

    @property
    def fraction(self) -> float:
        """Of this pass, 0 to 1: finished tiles, and the steps of the others."""
        under_way = sum(track.step / track.steps for track in self.tracks)
        return (self.tiles - len(self.tracks) + under_way) / self.tiles

    @property
    def left_s(self) -> float:
        """What this pass still needs, as far as one can tell."""
        megapixel_steps = sum((track.steps - track.step) * _megapixels(track) for track in self.tracks)
        return self.by.step_s_per_mp * megapixel_steps


class Engine:
    """`residents` by the names that tasks give; `say` takes each answer at once; `clock` gives seconds."""

    def __init__(
        self, residents: Mapping[str, Resident], say: Callable[[Answer], None], clock: Callable[[], float] = time.time
    ) -> None:
        self.residents, self.say, self.clock = residents, say, clock
        self._entries: dict[str, Entry] = {}
        self._splits = 0

    @property
    def busy(self) -> bool:
        return bool(self._entries)

    def admit(self, task: Task) -> None:
        """Take an image in; it is begun at the next turn."""
        by = self.residents.get(task.bundle)
        if by is None:
            detail = f"this worker has no bundle {task.bundle!r}, it has {', '.join(self.residents)}"
            self.say(Failed(id=task.id, code="no-such-bundle", detail=detail, hint="report it"))
            return
        try:
            request = Request(image=to_tensor(task.pixels), controls=Controls(**task.controls))
        except (ControlsError, TypeError) as error:
            self.say(Failed(id=task.id, code="bad-controls", detail=str(error)))
            return
        except (MemoryError, RuntimeError) as error:  # torch's own way of saying that there is no memory
            self.say(_failure(task.id, error))
            return
        self._entries[task.id] = Entry(task, request, by)

    def cancel(self, task: str) -> None:
        """Drop an image; its neighbors never notice."""
        self._entries.pop(task, None)

    def turn(self) -> None:
        """Begin one waiting image, then step one batch and finish what is done.

        Raises:
            DeviceBroken: the process must end.
        """
        start_s = self.clock()
        if fresh := min((e for e in self._entries.values() if not e.begun), key=_turn, default=None):
            self._begin(fresh)
        chosen = self._chosen()
        if chosen:
            self._step(chosen)
            self._finish_done(chosen)
            megapixels = sum(_megapixels(track) for _, track in chosen)
            splits, self._splits = self._splits, 0
            seconds = self.clock() - start_s
            entry = chosen[0][0]
            entry.by.learn(seconds / megapixels)
            held = torch.cuda.memory_reserved() if torch.cuda.is_available() else 0
            self.say(
                Turned(
                    bundle=entry.task.bundle, images=len(chosen), megapixels=megapixels, seconds=seconds,
                    splits=splits, memory_bytes=held,
                )
            )  # fmt: skip

    def _chosen(self) -> list[tuple[Entry, Track]]:
        """The tracks to advance now, all of one bundle and shape."""
        tracks = [(e, track) for e in self._entries.values() for track in e.tracks if track.step < track.steps]
        if not tracks:
            return []
        waiting = [_waiting(entry, track) for entry, track in tracks]
        by = tracks[first(waiting)][0].by
        own = [i for i, (entry, _) in enumerate(tracks) if entry.by is by]
        limits = Limits(together=by.together, megapixels=by.limits.megapixels)
        return [tracks[own[i]] for i in next_step([waiting[i] for i in own], limits)]

    def _begin(self, entry: Entry) -> None:
        entry.begun = True
        if entry.task.detect_only:
            self._guarded(entry, lambda: self._assess(entry))
        else:
            self._guarded(entry, lambda: self._take(entry, entry.by.restorer.begin([entry.request])[0]))

    def _assess(self, entry: Entry) -> None:
        seen = entry.by.restorer.assess([entry.request.image])[0].probabilities
        report = Report(
            degradations=dict(sorted(seen.items(), key=lambda item: -item[1])), passes=(), stop_reason="assessed",
            seed=entry.request.controls.seed, steps=0,
        )  # fmt: skip
        self._entries.pop(entry.task.id)
        self.say(Done(id=entry.task.id, report=asdict(report)))

    def _take(self, entry: Entry, outcome: Outcome) -> None:
        """What a restorer answered for an image."""
        if isinstance(outcome, Restored):
            self._entries.pop(entry.task.id)
            self.say(self._ended(entry, outcome))
        elif isinstance(outcome, Continues):
            entry.tracks, entry.tiles = list(outcome.tracks), len(outcome.tracks)
            picture = outcome.image if entry.task.pictures else None
            pixels = None if picture is None else to_pixels(picture, entry.task.pixels.dtype.type)
            self.say(Passed(id=entry.task.id, report=asdict(outcome.report), pixels=pixels))

    def _ended(self, entry: Entry, outcome: Restored) -> Answer:
        if not bool(torch.isfinite(outcome.image).all()):
            return Failed(
                id=entry.task.id, code="not-finite", detail="the restored picture holds values that are no numbers",
                hint="report it with the bundle's name; a bundle in float32 may do",
            )  # fmt: skip
        pixels = to_pixels(outcome.image, entry.task.pixels.dtype.type)
        return Done(id=entry.task.id, report=asdict(outcome.report), pixels=pixels)

    def _step(self, chosen: Sequence[tuple[Entry, Track]]) -> None:
        """Advance a batch; where memory is short in halves, where one image is to blame singly."""
        by = chosen[0][0].by
        error = self._tried(lambda: by.restorer.step([track for _, track in chosen]))
        if error is None:
            self._report(chosen)
            return
        if len(chosen) == 1:
            entry, track = chosen[0]
            self._give_up(entry, error, max(track.shape[-2:]))
            return
        if _out_of_memory(error):
            self._splits += 1
            by.together = max(1, len(chosen) // 2)
        size = (len(chosen) + 1) // 2 if _out_of_memory(error) else 1
        del error  # its traceback keeps the failed batch's tensors alive
        for start in range(0, len(chosen), size):
            there = [(e, track) for e, track in chosen[start : start + size] if self._entries.get(e.task.id) is e]
            if there:
                self._step(there)

    def _report(self, chosen: Sequence[tuple[Entry, Track]]) -> None:
        for entry, track in {e.task.id: (e, t) for e, t in reversed(chosen)}.values():
            self.say(
                Stepped(
                    id=entry.task.id, pass_index=track.pass_index, passes=track.passes, step=track.step,
                    steps=track.steps, fraction=min(1.0, (track.pass_index + entry.fraction) / track.passes),
                )
            )  # fmt: skip

    def _finish_done(self, chosen: Sequence[tuple[Entry, Track]]) -> None:
        by = chosen[0][0].by
        by.together = min(by.together + 1, by.limits.together)
        for entry, track in chosen:
            if track.step < track.steps or self._entries.get(entry.task.id) is not entry or track not in entry.tracks:
                continue
            entry.tracks.remove(track)
            self._guarded(entry, lambda e=entry, t=track: self._take(e, e.by.restorer.finish([t])[0]))  # type: ignore[misc]

    def _guarded(self, entry: Entry, action: Callable[[], None]) -> None:
        error = self._tried(action)
        if error is not None:
            self._give_up(entry, error)

    def _tried(self, action: Callable[[], None]) -> Exception | None:
        """The error that is one image's own, if any.

        Raises:
            DeviceBroken: it is the device's.
        """
        try:
            action()
        except Exception as error:
            if not _out_of_memory(error) and _of_the_device(error):
                raise DeviceBroken(str(error)) from error
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return error
        return None

    def _give_up(self, entry: Entry, error: Exception, tried_px: int | None = None) -> None:
        """Fail one image; short of memory, try it in tiles of half of what did not fit first."""
        whole_px = entry.request.tile_px or max(entry.request.image.shape[-2:])
        side = min(whole_px, tried_px or whole_px) // 2
        if _out_of_memory(error) and side >= LEAST_TILE_PX and not entry.task.detect_only:
            self._splits += 1
            request = Request(image=entry.request.image, controls=entry.request.controls, tile_px=side)
            self._entries[entry.task.id] = Entry(entry.task, request, entry.by)
            return
        self._entries.pop(entry.task.id, None)
        self.say(_failure(entry.task.id, error))


def _waiting(entry: Entry, track: Track) -> Waiting:
    task = entry.task
    return Waiting(lane=task.lane, since_s=task.since_s, shape=track.shape, left_s=entry.left_s)


def _megapixels(track: Track) -> float:
    return track.shape[-2] * track.shape[-1] / 1e6


def _turn(entry: Entry) -> tuple[int, float]:
    return entry.task.lane, entry.task.since_s


def _failure(task: str, error: Exception) -> Failed:
    if isinstance(error, ControlsError):
        return Failed(id=task, code="bad-controls", detail=str(error))
    if _out_of_memory(error):
        hint = "scale the image down, or use a worker with more memory"
        return Failed(id=task, code="out-of-memory", detail="not even one small tile fitted into memory", hint=hint)
    return Failed(id=task, code="engine-error", detail=f"{type(error).__name__}: {error}", hint="report it")


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def _of_the_device(error: Exception) -> bool:
    """CUDA's own errors leave a context that answers with errors or with garbage (text-generation-inference#965)."""
    broken = getattr(torch, "AcceleratorError", None)
    said = any(word in str(error) for word in ("CUDA error", "CUBLAS", "cuDNN error"))
    return said or (broken is not None and isinstance(error, broken))
