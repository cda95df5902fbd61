"""Drives a restorer in this process, without a queue: what the command line and the evaluation use.

Oldest tracks first and each to its end, so of a tiled image only `together` tiles are ever on the device.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.restorer import Continues, Outcome, Request, Restored, Restorer, Track


@dataclass(frozen=True)
class Progress:
    """Where an image is: this pass of at most `passes`, this tile of `tiles`, `step` of `steps` done."""

    pass_index: int
    passes: int
    tile: int
    tiles: int
    step: int
    steps: int

    @property
    def fraction(self) -> float:
        """Of this pass, 0 to 1."""
        return (self.tile + self.step / self.steps) / self.tiles


OnProgress = Callable[[int, Progress], None]
"""Called with the index of the request and where it is."""


def restore_one(
    restorer: Restorer, request: Request, on_progress: Callable[[Progress], None] | None = None
) -> Restored:
    """Restore one image."""
    watch = (lambda _, at: on_progress(at)) if on_progress else None
    return restore_all(restorer, [request], watch)[0]


def restore_all(
    restorer: Restorer, requests: Sequence[Request], on_progress: OnProgress | None = None, together: int = 4
) -> list[Restored]:
    """Restore several images, up to `together` tracks of one shape at a time; results in the order of the requests."""
    done: dict[int, Restored] = {}
    waiting: deque[tuple[int, Track]] = deque()

    def take(index: int, outcome: Outcome, first: bool) -> None:
        if isinstance(outcome, Restored):
            done[index] = outcome
        elif isinstance(outcome, Continues):
            tracks = [(index, track) for track in outcome.tracks]
            waiting.extend(tracks) if first else waiting.extendleft(reversed(tracks))

    for index, outcome in enumerate(restorer.begin(requests)):
        take(index, outcome, first=True)
    while waiting:
        batch = _oldest_of_one_shape(waiting, together)
        _step_to_the_end(restorer, batch, on_progress)
        for (index, _), outcome in zip(batch, restorer.finish([track for _, track in batch]), strict=True):
            take(index, outcome, first=False)
    return [done[index] for index in range(len(requests))]


def _oldest_of_one_shape(waiting: "deque[tuple[int, Track]]", together: int) -> list[tuple[int, Track]]:
    shape = waiting[0][1].shape
    batch = [entry for entry in waiting if entry[1].shape == shape][:together]
    for entry in batch:
        waiting.remove(entry)
    return batch


def _step_to_the_end(restorer: Restorer, batch: Sequence[tuple[int, Track]], on_progress: OnProgress | None) -> None:
    while left := [(index, track) for index, track in batch if track.step < track.steps]:
        restorer.step([track for _, track in left])
        for index, track in left:
            if on_progress:
                tile, tiles = track.tile
                on_progress(index, Progress(track.pass_index, track.passes, tile, tiles, track.step, track.steps))
