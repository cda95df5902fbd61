"""The step-level engine: admits images, forms a batch at each denoising step, and finishes images, with any Restorer.

A new image joins at the next step, a finished image leaves at once, and a canceled image is dropped between steps.
Images that wait begin together, and tracks that are done finish together.  No image waits for a batch to fill or for
the longest job to end.  Several bundles, of one family or several, may be
resident; their images take turns, and each step belongs to one bundle.

An error in one image ends that image alone.  Out of memory: the engine halves the batch, then the tile, and then fails
the image.  Any other CUDA error may have left the device in a bad state: it raises `DeviceBroken`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import isqrt, prod
from typing import TypeVar

import numpy as np
import torch

from models.errors import ControlsError
from models.pixels import as_image
from models.restoration_report import Report
from models.restorer import Assessment, Continues, Outcome, Request, Restored, Track
from worker.device_memory import DeviceMemory
from worker.engine_entry import Entry, Resident, megapixels
from worker.engine_errors import DeviceBroken, is_device_error, is_out_of_memory, to_failed
from worker.engine_stages import ASSESS, FINISH, STEPS
from worker.engine_timer import HostTimer, StepTimer
from worker.engine_transfers import Outbox, Transfers
from worker.messages import Answer, BatchStepped, Begun, Done, Failed, PassProgress, Pixels, StepProgress, Task
from worker.picking import BatchLimits, first_in_turn, pick_batch
from worker.restorer_types import to_controls, to_outcome

T = TypeVar("T")
R = TypeVar("R")
MIN_TILE_PX = 128

Batch = Sequence[tuple[Entry, Track]]


class Engine:
    """`residents` by the names in tasks; `send` takes each answer at once; `clock` gives seconds; `timer` is the
    device's own, and without one the clock measures steps; without `transfers`, pictures stay in host memory; `memory`
    is the device's."""

    def __init__(
        self, residents: Mapping[str, Resident], send: Callable[[Answer], None],
        clock: Callable[[], float] = time.time, timer: StepTimer | None = None,
        transfers: Transfers | None = None, memory: DeviceMemory | None = None,
    ) -> None:  # fmt: skip
        self.residents, self.send, self.clock = residents, send, clock
        self.timer = timer or HostTimer(clock)
        self._transfers, self._outbox = transfers or Transfers(torch.device("cpu")), Outbox(send)
        self._entries: dict[str, Entry] = {}
        self._memory, self._splits = memory or DeviceMemory(), 0

    @property
    def busy(self) -> bool:
        return bool(self._entries) or bool(self._outbox)

    def admit(self, task: Task) -> None:
        """Accept an image; it begins in one of the next turns."""
        resident = self.residents.get(task.bundle)
        if resident is None:
            detail = f"got bundle {task.bundle!r}, expected one of this worker's: {', '.join(self.residents)}"
            self.send(Failed(id=task.id, code="no-such-bundle", detail=detail, hint="report it"))
            return
        try:
            controls = to_controls(task.controls)
            image = self._transfers.upload(task.pixels, self._held_px())
            # The whole image of a part is only looked at, so it stays in host memory
            request = Request(
                image=image, controls=controls, whole=None if task.whole is None else as_image(task.whole),
                small=None if task.small is None else as_image(task.small), compressed=task.compressed,
            )  # fmt: skip
        except (ControlsError, MemoryError, RuntimeError) as error:  # torch raises RuntimeError when memory is short
            self.send(to_failed(task.id, error))
            return
        if request.image.is_cuda:  # host memory keeps only the pictures that the device does not
            task = replace(task, pixels=np.empty((0, 0, 3), task.pixels.dtype))
        self._entries[task.id] = Entry(task, request, resident)

    def _held_px(self) -> int:
        """The pixels of all pictures on the device."""
        return sum(e.request.image[0].numel() for e in self._entries.values() if e.request.image.is_cuda)

    def cancel(self, task_id: str) -> None:
        """Drop an image; the others are not affected."""
        self._entries.pop(task_id, None)
        self._outbox.drop(task_id)

    def turn(self) -> None:
        """Begin the images that wait, then step one batch and finish the tracks that are done.

        Raises:
            DeviceBroken: the process must end.
        """
        start_s = self.clock()
        self._send_arrived()
        for resident in self.residents.values():
            self._begin_waiting(resident)
        batch = self._next_batch()
        if batch:
            with self._shared_work(STEPS, batch):
                self._step(batch)
            self._finish_done(batch)
            self._report_batch(batch, start_s)

    def _send_arrived(self) -> None:
        """Send the pictures that have arrived; wait for them if there is nothing else to do."""
        try:
            self._outbox.flush(wait=not self._entries)
        except RuntimeError as error:  # a copy fails only with its device
            raise DeviceBroken(str(error)) from error

    def _next_batch(self) -> Batch:
        """The tracks to advance now, all of one bundle and shape."""
        ready = [(entry, *each) for entry in self._entries.values() for each in entry.candidates()]
        if not ready:
            return []
        resident = ready[first_in_turn([candidate for _, _, candidate in ready])][0].resident
        ready = [each for each in ready if each[0].resident is resident]
        limits = BatchLimits(max_batch=resident.max_batch, megapixels=resident.limits.megapixels)
        return [ready[i][:2] for i in pick_batch([candidate for _, _, candidate in ready], limits)]

    @contextmanager
    def _shared_work(self, stage: str, parts: Sequence[tuple[Entry, object]]) -> Iterator[None]:
        """Add the duration of the block to the work of these images, in equal shares, and in full to their stages."""
        start_s = self.clock()
        passes = {entry: entry.pass_index for entry, _ in parts}
        try:
            yield
        finally:
            end_s = self.clock()
            for entry, _ in parts:
                entry.work_s += (end_s - start_s) / len(parts)
            for entry, pass_index in passes.items():
                entry.stages.add(stage, pass_index, start_s, end_s)

    def _begin_waiting(self, resident: Resident) -> None:
        """Begin the first waiting images of a bundle, as many as a step takes.

        More could not take the next step anyway, and would hold it up: so one at a time on a CPU, where each is then
        assessed alone and its result is exact.
        """
        waiting = [e for e in self._entries.values() if not e.begun and e.resident is resident]
        group = sorted(waiting, key=lambda entry: entry.turn)[: resident.max_batch]
        for entry in group:
            entry.begun = True
            self.send(Begun(entry.task.id))
        self._transfers.join()
        restorer = resident.restorer
        looked_at = [(entry, entry.request.image) for entry in group if entry.task.detect_only]
        self._together(ASSESS, looked_at, restorer.assess, self._end_assessed)
        begun = [(entry, entry.request) for entry in group if not entry.task.detect_only]
        self._together(ASSESS, begun, restorer.begin, self._advance)

    def _together(
        self, stage: str, parts: Sequence[tuple[Entry, T]], call: Callable[[Sequence[T]], Sequence[R]],
        act: Callable[[Entry, R], None],
    ) -> None:  # fmt: skip
        """Make one call for parts of several images and act on each answer; after an error, one call for each."""
        parts = [part for part in parts if self._has(part[0])]
        if not parts:
            return
        answers: list[R] = []
        with self._shared_work(stage, parts):
            error = self._attempt(lambda: answers.extend(call([part for _, part in parts])))
        if error is None:
            for (entry, _), answer in zip(parts, answers, strict=True):
                self._guarded(entry, partial(act, entry, answer))
        elif len(parts) == 1:
            self._give_up(parts[0][0], error)
        else:
            self._splits += is_out_of_memory(error)
            del error  # its traceback keeps the failed call's tensors alive
            for part in parts:
                self._together(stage, [part], call, act)

    def _end_assessed(self, entry: Entry, assessment: Assessment) -> None:
        report = Report(
            degradations=dict(sorted(assessment.probabilities.items(), key=lambda item: -item[1])), passes=(),
            stop_reason="assessed", seed=entry.request.controls.seed, steps=0,
        )  # fmt: skip
        self._entries.pop(entry.task.id)
        outcome = to_outcome(report)
        self.send(Done(id=entry.task.id, outcome=outcome, work_s=entry.work_s, stages=entry.stages.all()))

    def _advance(self, entry: Entry, outcome: Outcome) -> None:
        """Act on what a restorer returned for an image: it is done, or it goes on with new tracks."""
        if isinstance(outcome, Restored):
            download = self._transfers.download(outcome.image, entry.task.pixels.dtype.type)
            self._entries.pop(entry.task.id)
            self._outbox.post(entry.task.id, download, partial(self._done, entry, outcome.report))
        elif isinstance(outcome, Continues):
            entry.tracks, entry.tiles = list(outcome.tracks), len(outcome.tracks)
            entry.pass_index = entry.tracks[0].pass_index
            image = outcome.image if entry.task.send_passes else None
            progress = PassProgress(id=entry.task.id, outcome=to_outcome(outcome.report))
            if image is None:
                self.send(progress)
            else:
                download = self._transfers.download(image, entry.task.pixels.dtype.type)
                self._outbox.post(entry.task.id, download, lambda pixels: replace(progress, pixels=pixels))

    def _done(self, entry: Entry, report: Report, pixels: Pixels | None) -> Answer:
        if pixels is None:
            return Failed(
                id=entry.task.id, code="not-finite", detail="the restored image contains NaN or infinite values",
                hint="report it with the bundle's name; a bundle in float32 may work", work_s=entry.work_s,
                stages=entry.stages.all(),
            )  # fmt: skip
        outcome, stages = to_outcome(replace(report, credit=entry.resident.credit)), entry.stages.all()
        return Done(id=entry.task.id, outcome=outcome, pixels=pixels, work_s=entry.work_s, stages=stages)

    def _step(self, batch: Batch) -> None:
        """Advance a batch.  After an error try it again: in halves where memory was short, otherwise image by image."""
        resident = batch[0][0].resident
        tracks = [track for _, track in batch]
        shape, computed_mp = (len(tracks), *tracks[0].shape), sum(map(megapixels, tracks))
        learn = partial(resident.speed.learn, shape, computed_mp)
        error = self._attempt(lambda: self.timer.measure(lambda: resident.restorer.step(tracks), learn))
        if error is None:
            self._report_steps(batch)
            return
        if len(batch) == 1:
            entry, track = batch[0]
            self._give_up(entry, error, isqrt(track.shape[-2] * track.shape[-1]))
            return
        if is_out_of_memory(error):
            self._splits += 1
            resident.max_batch = max(1, len(batch) // 2)
        size = (len(batch) + 1) // 2 if is_out_of_memory(error) else 1
        del error  # its traceback keeps the failed batch's tensors alive
        for start in range(0, len(batch), size):
            if part := [(entry, track) for entry, track in batch[start : start + size] if self._has(entry)]:
                self._step(part)

    def _report_steps(self, batch: Batch) -> None:
        """Report the progress of each image once: that of its first track in the batch."""
        for entry, track in {e.task.id: (e, t) for e, t in reversed(batch)}.values():
            if entry.task.id in self._outbox:  # its last pass is reported first
                continue
            self.send(
                StepProgress(
                    id=entry.task.id, pass_index=track.pass_index, passes=track.passes, step=track.step,
                    steps=track.steps, fraction=min(1.0, (track.pass_index + entry.fraction) / track.passes),
                )
            )  # fmt: skip

    def _report_batch(self, batch: Batch, start_s: float) -> None:
        entry, stepped_mp = batch[0][0], sum(megapixels(track) for _, track in batch)
        speed = entry.resident.speed
        splits, self._splits = self._splits, 0
        held_bytes, limit_bytes = self._memory.read()
        end_s = self.clock()
        self.send(
            BatchStepped(
                bundle=entry.task.bundle, images=len(batch), megapixels=stepped_mp, seconds=end_s - start_s,
                splits=splits, memory_bytes=held_bytes, memory_limit_bytes=limit_bytes, fixed_s=speed.fixed_s,
                s_per_mp=speed.s_per_mp, end_s=end_s, tasks=tuple(sorted({entry.task.id for entry, _ in batch})),
                one_left=not all(self._has(entry) for entry, _ in batch),
            )
        )  # fmt: skip

    def _finish_done(self, batch: Batch) -> None:
        resident = batch[0][0].resident
        resident.max_batch = min(resident.max_batch + 1, resident.limits.max_batch)
        done = [(e, track) for e, track in batch if track.step >= track.steps and self._has(e) and track in e.tracks]
        for entry, track in done:
            entry.tracks.remove(track)
        self._together(FINISH, done, resident.restorer.finish, self._advance)

    def _has(self, entry: Entry) -> bool:
        """False once the image has ended, or has begun again in smaller tiles."""
        return self._entries.get(entry.task.id) is entry

    def _guarded(self, entry: Entry, action: Callable[[], None]) -> None:
        error = self._attempt(action)
        if error is not None:
            self._give_up(entry, error)

    def _attempt(self, action: Callable[[], None]) -> Exception | None:
        """Run an action.  Returns the error that concerns its images only, if any.

        Raises:
            DeviceBroken: the error concerns the device.
        """
        try:
            action()
        except Exception as error:
            if not is_out_of_memory(error) and is_device_error(error):
                raise DeviceBroken(str(error)) from error
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return error
        return None

    def _give_up(self, entry: Entry, error: Exception, tried_px: int | None = None) -> None:
        """Fail one image.  Where memory was short, first begin it again in tiles of half the size."""
        whole_px = entry.request.tile_px or isqrt(prod(entry.request.image.shape[-2:]))
        tile_px = min(whole_px, tried_px or whole_px) // 2
        if is_out_of_memory(error) and tile_px >= MIN_TILE_PX and not entry.task.detect_only:
            self._splits += 1
            # In host memory the picture leaves the device to its tiles
            request = replace(entry.request, image=entry.request.image.cpu(), tile_px=tile_px)
            self._entries[entry.task.id] = Entry(
                entry.task, request, entry.resident, work_s=entry.work_s, stages=entry.stages
            )
            return
        self._entries.pop(entry.task.id, None)
        self._outbox.drop(entry.task.id)
        self.send(replace(to_failed(entry.task.id, error), work_s=entry.work_s, stages=entry.stages.all()))
