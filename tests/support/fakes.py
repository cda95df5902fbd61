"""A restorer without a network: for tests of the programs that drive a restorer (worker engine, `drive`, evaluation).

It keeps the rules of `models.restorer.Restorer`: an image becomes tracks, each track takes its steps, and the last
track of the last pass returns the result.  It records what is asked of it, and its hooks may raise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.restoration_report import PassReport, Report
from models.restorer import Assessment, Continues, Outcome, Request, Restored, Waits, untouched

REPAIRED = PassReport(
    label="noise",
    source="auto",
    by="diffusion",
    probability_before=0.75,
    probability_after=0.25,
    kept=True,
    seconds=0.0,
)


@dataclass(eq=False)
class FakeImage:
    """How many passes, tiles and steps an image takes, and how far it is.  `passes` 0: it is done at once.

    The first four fields are the plan; `FakeRestorer` fills in the others.
    """

    passes: int = 1
    tiles: int = 1
    steps: int = 2
    shape: tuple[int, ...] = (8, 8)
    tile_shapes: Sequence[tuple[int, ...]] = ()  # where edge tiles are smaller; empty: `tiles` times `shape`
    index: int = 0  # the order of beginning
    request: Request = field(default_factory=lambda: Request(image=torch.zeros(3, 8, 8)))
    pass_index: int = 0
    tiles_left: int = 0
    steps_taken: int = 0
    reports: list[PassReport] = field(default_factory=list)

    @property
    def name(self) -> int:
        """The seed, by which a test tells images apart."""
        return self.request.controls.seed


@dataclass(eq=False)
class FakeTrack:
    """One tile of a fake image on its way."""

    image: FakeImage
    shape: tuple[int, ...]
    steps: int
    pass_index: int
    passes: int
    tile: tuple[int, int]
    step: int = 0
    outcome: Outcome | None = None  # of `finish`, which may be called again after a failure

    @property
    def name(self) -> int:
        return self.image.name


def do_nothing(*_: object) -> None:
    """The hook that raises nothing."""


def return_input(image: FakeImage) -> Tensor:
    """The result of a restorer that changes nothing."""
    return image.request.image


@dataclass(eq=False)
class FakeRestorer:
    """Follows the plan in `images`, image by image; without plans, what the request asks for.

    Without plans an image goes through whole, or in square tiles of at most `tile_px`, the request's or its own.

    Attributes:
        at_begin, at_step, at_finish: hooks that may raise.
        result: makes the restored image, RGB in [-1, 1].
        degradations: what each image's report says was found.
        pass_report: what each finished pass reports.
        begun: the requests, in order.
        begin_calls, assess_calls: how many images each call took.
        batches: of each step, the (name, step before it) of its tracks.
        finished: of each call of `finish`, the (image index, pass index, tile index) of its tracks.
        most_in_progress: the most tracks that were stepped and not finished at one time.
    """

    images: Sequence[FakeImage] = ()
    at_begin: Callable[[Request], None] = do_nothing
    at_step: Callable[[list[FakeTrack]], None] = do_nothing
    at_finish: Callable[[FakeTrack], None] = do_nothing
    result: Callable[[FakeImage], Tensor] = return_input
    names: tuple[str, ...] = ("noise",)
    degradations: dict[str, float] = field(default_factory=lambda: {"noise": 0.75})
    pass_report: PassReport = REPAIRED
    stop_reason: str = "clean"
    tile_px: int | None = None
    begun: list[Request] = field(default_factory=list)
    batches: list[list[tuple[int, int]]] = field(default_factory=list)
    finished: list[list[tuple[int, int, int]]] = field(default_factory=list)
    begin_calls: list[int] = field(default_factory=list)
    assess_calls: list[int] = field(default_factory=list)
    in_progress: int = 0
    most_in_progress: int = 0

    def assess(self, images: Sequence[Tensor]) -> list[Assessment]:
        self.assess_calls.append(len(images))
        return [Assessment(probabilities={"clean": 0.25, "noise": 0.75}, condition=torch.zeros(1, 1)) for _ in images]

    def begin(self, requests: Sequence[Request]) -> list[Outcome]:
        self.begin_calls.append(len(requests))
        return [self._open(request) for request in requests]

    def step(self, tracks: Sequence[FakeTrack]) -> None:
        assert len({track.shape for track in tracks}) == 1, "a batch has one shape"
        assert all(track.step < track.steps for track in tracks), "no track is stepped beyond its last step"
        self.batches.append([(track.name, track.step) for track in tracks])
        self.at_step(list(tracks))
        self.in_progress += sum(track.step == 0 for track in tracks)
        self.most_in_progress = max(self.most_in_progress, self.in_progress)
        for track in tracks:
            track.step += 1
            track.image.steps_taken += 1

    def finish(self, tracks: Sequence[FakeTrack]) -> list[Outcome]:
        assert all(track.step == track.steps for track in tracks)
        self.in_progress -= sum(track.outcome is None for track in tracks)
        self.finished.append([(track.image.index, track.pass_index, track.tile[0]) for track in tracks])
        for track in tracks:
            track.outcome = track.outcome or self._close(track)
        return [track.outcome for track in tracks]

    def _open(self, request: Request) -> Outcome:
        index = len(self.begun)
        self.begun.append(request)
        self.at_begin(request)
        image = self.images[index] if self.images else self._planned(request)
        image.request, image.index = request, index
        if request.controls.strength == 0:
            return untouched(request)
        return self._start(image) if image.passes else self._done(image, self.stop_reason)

    def _planned(self, request: Request) -> FakeImage:
        height, width = request.image.shape[-2:]
        side = request.tile_px or self.tile_px or max(height, width)
        shapes = [
            (min(side, height - top), min(side, width - left))
            for top in range(0, height, side)
            for left in range(0, width, side)
        ]
        controls = request.controls
        return FakeImage(passes=controls.max_passes or 1, steps=controls.steps or 4, tile_shapes=shapes)

    def _start(self, image: FakeImage) -> Continues:
        shapes = image.tile_shapes or [image.shape] * image.tiles
        image.tiles_left = len(shapes)
        tracks = [
            FakeTrack(image, shape, image.steps, image.pass_index, image.passes, (i, len(shapes)))
            for i, shape in enumerate(shapes)
        ]
        picture = image.request.image if image.pass_index else None
        return Continues(tracks=tracks, report=self._report(image, ""), image=picture)

    def _close(self, track: FakeTrack) -> Outcome:
        self.at_finish(track)
        image = track.image
        image.tiles_left -= 1
        if image.tiles_left:
            return Waits()
        image.pass_index += 1
        image.reports.append(self.pass_report)
        return self._done(image, self.stop_reason) if image.pass_index == image.passes else self._start(image)

    def _done(self, image: FakeImage, stop_reason: str) -> Restored:
        return Restored(image=self.result(image), report=self._report(image, stop_reason))

    def _report(self, image: FakeImage, stop_reason: str) -> Report:
        return Report(
            degradations=self.degradations, passes=tuple(image.reports), stop_reason=stop_reason, seed=image.name,
            steps=image.steps,
        )  # fmt: skip
