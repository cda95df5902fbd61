"""Runs a restorer in this process, without a queue; the command line and the evaluation use it.

The oldest tracks run first and to their end, so at most `together` tiles are on the device at a time.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from models.restorer import Continues, Outcome, Request, Restored, Restorer, Track


@dataclass(frozen=True)
class Progress:
    """The progress of an image: the current pass of at most `passes`, tile of `tiles`, and `step` of `steps` done."""

    pass_index: int
    passes: int
    tile: int
    tiles: int
    step: int
    steps: int

    @property
    def fraction(self) -> float:
        """The share of this pass that is done, 0 to 1."""
        return (self.tile + self.step / self.steps) / self.tiles


OnProgress = Callable[[int, Progress], None]
"""Called with the index of the request and its progress."""


def restore_one(
    restorer: Restorer, request: Request, on_progress: Callable[[Progress], None] | None = None
) -> Restored:
    """Restore one image."""
    callback = (lambda _, progress: on_progress(progress)) if on_progress else None
    return restore_all(restorer, [request], callback)[0]


def restore_all(
    restorer: Restorer, requests: Sequence[Request], on_progress: OnProgress | None = None, together: int = 4
) -> list[Restored]:
    """Restore several images, up to `together` tracks of one shape at a time; results are in the order of requests."""
    done: dict[int, Restored] = {}
    waiting = _continuing(enumerate(restorer.begin(requests)), done)
    while waiting:
        batch, others = _oldest_of_one_shape(waiting, together)
        _step_to_the_end(restorer, batch, on_progress)
        outcomes = restorer.finish([track for _, track in batch])
        # The next pass of an image goes before images that have not begun, so few images are in progress at once
        waiting = _continuing(zip((index for index, _ in batch), outcomes, strict=True), done) + others
    return [done[index] for index in range(len(requests))]


Entry = tuple[int, Track]
"""A track and the index of its request."""


def _continuing(outcomes: Iterable[tuple[int, Outcome]], done: dict[int, Restored]) -> list[Entry]:
    """Returns the tracks to run next, in order; adds finished images to `done`."""
    tracks: list[Entry] = []
    for index, outcome in outcomes:
        if isinstance(outcome, Restored):
            done[index] = outcome
        elif isinstance(outcome, Continues):
            tracks += [(index, track) for track in outcome.tracks]
    return tracks


def _oldest_of_one_shape(waiting: Sequence[Entry], limit: int) -> tuple[list[Entry], list[Entry]]:
    """Returns up to `limit` tracks of the first track's shape, and the others in their order."""
    batch: list[Entry] = []
    others: list[Entry] = []
    shape = waiting[0][1].shape
    for entry in waiting:
        (batch if entry[1].shape == shape and len(batch) < limit else others).append(entry)
    return batch, others


def _step_to_the_end(restorer: Restorer, batch: Sequence[Entry], on_progress: OnProgress | None) -> None:
    while left := [(index, track) for index, track in batch if track.step < track.steps]:
        restorer.step([track for _, track in left])
        if on_progress:
            for index, track in dict(reversed(left)).items():  # the first of an image's tiles: progress never goes back
                on_progress(index, _progress(track))


def _progress(track: Track) -> Progress:
    tile, tiles = track.tile
    return Progress(track.pass_index, track.passes, tile, tiles, track.step, track.steps)
