"""Drives a restorer in this process, without a queue: what the command line and the evaluation use.

Oldest tracks first and each to its end, so of a tiled image only `together` tiles are ever on the device.
"""

from collections.abc import Callable, Iterable, Sequence
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
    waiting = _sorted_out(enumerate(restorer.begin(requests)), done)
    while waiting:
        batch, others = _oldest_of_one_shape(waiting, together)
        _step_to_the_end(restorer, batch, on_progress)
        outcomes = restorer.finish([track for _, track in batch])
        # An image's next pass goes before images that have not begun: the fewest are under way at once
        waiting = _sorted_out(zip((index for index, _ in batch), outcomes, strict=True), done) + others
    return [done[index] for index in range(len(requests))]


Entry = tuple[int, Track]
"""A track and the index of its request."""


def _sorted_out(outcomes: Iterable[tuple[int, Outcome]], done: dict[int, Restored]) -> list[Entry]:
    """The tracks that go on, in order; what is restored goes into `done`."""
    going_on: list[Entry] = []
    for index, outcome in outcomes:
        if isinstance(outcome, Restored):
            done[index] = outcome
        elif isinstance(outcome, Continues):
            going_on += [(index, track) for track in outcome.tracks]
    return going_on


def _oldest_of_one_shape(waiting: Sequence[Entry], most: int) -> tuple[list[Entry], list[Entry]]:
    """Up to `most` tracks of the first one's shape, and the others in their order."""
    batch: list[Entry] = []
    others: list[Entry] = []
    shape = waiting[0][1].shape
    for entry in waiting:
        (batch if entry[1].shape == shape and len(batch) < most else others).append(entry)
    return batch, others


def _step_to_the_end(restorer: Restorer, batch: Sequence[Entry], on_progress: OnProgress | None) -> None:
    while left := [(index, track) for index, track in batch if track.step < track.steps]:
        restorer.step([track for _, track in left])
        if on_progress:
            for index, track in dict(reversed(left)).items():  # of tiles that ride together the first: no bar runs back
                on_progress(index, _progress(track))


def _progress(track: Track) -> Progress:
    tile, tiles = track.tile
    return Progress(track.pass_index, track.passes, tile, tiles, track.step, track.steps)
