"""AutoDIR as a family: assess, diffuse and correct until the image is clean (Jiang et al. 2023, arXiv:2310.10123).

Shapes:  B tracks, C latent channels, h w latent pixels, H W pixels, L D text tokens and width.  Images are RGB
(3, H, W), see models.pixels, on the device or in host memory; then only the tiles of a batch are on the device.

The loop runs in one of two modes.  Strict is the published program: center-crop view, no clamping between passes, the
same noise in each pass, and the next pass after low resolution starts from the diffusion picture.  The safe default
assesses the whole image, clamps between passes, wants a minimum of confidence, takes back a pass that did not help, and
uses the bundle's specialists.
"""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.config import AutoDIRConfig
from models.autodir.denoiser import StepCache
from models.autodir.ending import refusal_of, result_of
from models.autodir.enlarging import enlarged, enlarged_tile, start_of
from models.autodir.next_repair import max_passes, next_repair, owes_enlarging_repair
from models.autodir.prompted import allowed_by, is_free, plan_of, set_free_prompt, understood_by
from models.autodir.reports import pass_report, report_of
from models.autodir.samplers import StepCoefficients, advance, denoised_from, plan
from models.autodir.specialists import Specialists
from models.autodir.speed import accelerate, warm_up
from models.autodir.system import System, system_of
from models.autodir.tiling import tiles_of
from models.autodir.tone import KINDS as LIGHT
from models.autodir.tone import overview, whole_of
from models.autodir.track import AutoDIRTrack, ImageRun, PassTrack, SpecialistTrack, unchanged_on_failure
from models.device import Speed, to_device
from models.frames import FRAMES, Frame, padded_size
from models.networks.nafnet import NAFNet
from models.noise import tile_noise
from models.optional import not_none
from models.pixels import mix, pad_to
from models.prompt_plan import PromptPlan
from models.restorer import (
    ENLARGING_REPAIR,
    Assessment,
    Continues,
    Outcome,
    Request,
    Restored,
    Shape,
    Track,
    Waits,
    as_ordered,
    finished,
    untouched,
)
from models.safety.envelope import Envelope
from models.tiles import Canvas, Tile
from models.tracks import of_family, rewound_on_failure
from models.views import ASSESSED_TOGETHER, in_parts
from models.vocabulary import CLEAN


class AutoDIR:
    """The three networks, and the bundle's specialists, resident on a device.

    `taught` holds an AIR and an SCM for degradations that have their own (models.autodir.system).
    """

    def __init__(
        self, config: AutoDIRConfig, assessor: Assessor, air: AIR, scm: NAFNet, device: torch.device,
        specialists: Specialists | None = None, taught: Mapping[str, tuple[AIR, NAFNet]] | None = None,
    ) -> None:  # fmt: skip
        self.config, self.device = config, device
        self.assessor, self.air, self.scm = assessor, air, scm
        self.specialists, self.envelope = specialists or Specialists({}, {}), Envelope()
        self.schedule = air.schedule
        self._graph_frames: tuple[Frame, ...] = ()
        self._own = system_of(air, scm, assessor, config.loop)
        self._taught = {name: system_of(*pair, assessor, config.loop) for name, pair in (taught or {}).items()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.config.names if name != CLEAN)

    def accelerate(self, speed: Speed, frames: Sequence[Frame] = FRAMES) -> None:
        """Change the networks in place before the first image (models.autodir.speed).

        Raises:
            ValueError: graphs for a device other than CUDA.
        """
        accelerate(self.air, (self.scm, *self.specialists.networks.values()), self.device, speed, frames)
        self._graph_frames = tuple(frames) if speed.graphs else ()

    def warm_up(self, shapes: Sequence[Shape]) -> None:
        """Compute the states of fixed prompts, and capture CUDA graphs for these shapes where graphs are on."""
        warm_up(self.air, self.assessor, shapes)

    @torch.inference_mode()
    def assess(self, images: Sequence[Tensor]) -> list[Assessment]:
        """Returns what is wrong with each image, from views of the whole image."""
        return [
            Assessment(probabilities=found, condition=self.assessor.condition(found))
            for found in self._assessed([(image, False) for image in images])
        ]

    @torch.inference_mode()
    def begin(self, requests: Sequence[Request]) -> list[Outcome]:
        """Assess and start each image.  The controls are checked first: a wrong one costs no assessment.

        Raises:
            ControlsError: the bundle does not know a degradation, or a prompt comes together with only or skip.
        """
        plans = [plan_of(request.controls, self.config, self.assessor) for request in requests]
        allowed = [
            allowed_by(request.controls, self.config, plan) for request, plan in zip(requests, plans, strict=True)
        ]
        admitted = [
            self.envelope.admitted(as_ordered(request, plan), names)
            for request, names, plan in zip(requests, allowed, plans, strict=True)
        ]
        remaining, reasons = [names for names, _ in admitted], [reason for _, reason in admitted]
        starts = [
            start_of(request, names, self.specialists, free_prompt=is_free(request.controls, plan))
            for request, names, plan in zip(requests, remaining, plans, strict=True)
        ]
        shown = [
            (image, start.controls.strict)
            for start, reason in zip(starts, reasons, strict=True) if reason is None
            for image in start.assessed
        ]  # fmt: skip
        found = iter(self._assessed(shown))
        return [
            self._open(request, start.image, names, [next(found) for _ in start.assessed], plan)
            if reason is None else untouched(request, reason, plan)
            for request, start, names, reason, plan in zip(requests, starts, remaining, reasons, plans, strict=True)
        ]  # fmt: skip

    def _assessed(self, shown: Sequence[tuple[Tensor, bool]]) -> list[dict[str, float]]:
        """Returns the assessment of each (image, strict); the views of several images share a call."""
        found: dict[int, dict[str, float]] = {}
        for strict in dict.fromkeys(strict for _, strict in shown):
            alike = [index for index, (_, other) in enumerate(shown) if other == strict]
            for part in in_parts(alike, ASSESSED_TOGETHER):
                answers = self.assessor.assess([shown[index][0] for index in part], strict=strict)
                found.update(zip(part, answers, strict=True))
        return [found[index] for index in range(len(shown))]

    def _open(
        self, request: Request, start: Tensor, remaining: tuple[str, ...], found: list[dict[str, float]],
        plan: PromptPlan | None,
    ) -> Outcome:  # fmt: skip
        """Start an image.  `found` holds the assessments of `start`, and of the whole photo where it is a part."""
        controls = request.controls
        run = ImageRun(
            controls, request.image, start, start, remaining, found[-1], first=found[-1], reference=found[0],
            tile_px=request.tile_px, compressed=request.compressed,
            factor=1 if start is request.image else controls.scale, plan=plan,
        )  # fmt: skip
        run.understood = understood_by(run, self.assessor, self.specialists)
        if not run.free_prompt:
            return self._choose(run)
        set_free_prompt(run, self.assessor)
        return self._start(run)

    def _choose(self, run: ImageRun) -> Outcome:
        """Start the next pass, or end the loop."""
        choice, run.source = next_repair(run, self.config)
        if choice.label is None:
            return self._done(run, choice.stop or "clean")
        run.label = choice.label
        # The mixture of an uncertain assessor asks for a little of everything; the safe loop asks for its choice only
        run.condition = self.assessor.condition(choice.probabilities if run.controls.strict else {run.label: 1.0})
        return self._start(run)

    def _specialist(self, run: ImageRun) -> str | None:
        return None if run.controls.strict else self.specialists.key_of(run.label, run.controls.prompt, run.factor)

    def _start(self, run: ImageRun) -> Outcome:
        run.specialist, shown = self._specialist(run), enlarged(run.result, run.factor) if run.passes else None
        scale, frames = 1 if run.specialist is None else self.specialists.scale(run.specialist), self._frames(run)
        areas, overlap = tiles_of(run, self.config.loop, self.specialists, self.device, self._stride(run), frames)
        overlap *= scale
        if scale > 1:
            run.small, run.image, run.factor = run.image, enlarged(run.image, scale), 1
        height, width = run.image.shape[-2:]
        run.restored = Canvas(height, width, overlap, run.image.device)
        # As published, I_sd is the next input after low resolution; the safe loop continues from the best result
        run.diffused = Canvas(height, width, overlap, run.image.device) if self._carries_diffused(run) else None
        tracks = [self._track(run, area) for area in areas]
        if run.specialist is not None and len(areas) > 1 and scale == 1 and run.label in LIGHT:
            run.overview = overview(run.image)
            tracks.append(self._track(run, whole_of(run.overview, len(areas)), whole=True))
        run.tiles_left, run.started_s = len(tracks), time.monotonic()
        return Continues(
            tracks=tracks,
            report=report_of(run, self.config, ""),
            image=shown,
        )

    def _stride(self, run: ImageRun) -> int:
        """Returns the stride of the network that repairs this pass."""
        return self.air.stride if run.specialist is None else self.specialists.stride(run.specialist)

    def _frames(self, run: ImageRun) -> Sequence[Frame]:
        """Returns the shapes that a picture is padded to where the denoiser runs as graphs; never in strict mode."""
        return self._graph_frames if run.specialist is None and not run.controls.strict else ()

    def _carries_diffused(self, run: ImageRun) -> bool:
        return run.controls.strict and run.label == "low-resolution"

    def _track(self, run: ImageRun, area: Tile, whole: bool = False) -> PassTrack:
        index, passes = len(run.passes), max_passes(run, self.config)
        padded = padded_size(area.height, area.width, self._stride(run), self._frames(run))
        if run.specialist is not None:
            place = enlarged_tile(area, self.specialists.scale(run.specialist))
            return SpecialistTrack(
                run=run, area=area, place=place, whole=whole, padded=padded, pass_index=index, passes=passes, steps=1
            )
        steps = run.controls.steps_of(self.config.loop.steps)
        planned = plan(self.config.loop.sampler, self.schedule, steps, self.config.loop.end_timestep)
        return AutoDIRTrack(
            run=run, area=area, padded=padded, pass_index=index, passes=passes, steps=len(planned), plan=planned,
            stream=tile_noise(run.controls.seed, area), cache=StepCache(exact=run.controls.strict),
        )  # fmt: skip

    @torch.inference_mode()
    def step(self, tracks: Sequence[Track]) -> None:
        """Advance each track by one denoising step, or by the single step of its specialist.

        All tracks have one shape, and may be at any steps of any plans.  If a step fails, no track changes.
        """
        ours = of_family(tracks, PassTrack)
        diffusing = [track for track in ours if isinstance(track, AutoDIRTrack)]
        specials = [track for track in ours if isinstance(track, SpecialistTrack)]
        with rewound_on_failure(diffusing), rewound_on_failure(specials):
            for system in (self._own, *self._taught.values()):
                if alike := [track for track in diffusing if self._system(track) is system]:
                    self._advance(system, alike)
            for key in dict.fromkeys(not_none(track.run.specialist) for track in specials):
                self._restore(key, [track for track in specials if track.run.specialist == key])

    def _restore(self, specialist: str, tracks: Sequence[SpecialistTrack]) -> None:
        pixels = torch.stack([self._padded(track) for track in tracks])  # (B, 3, H', W')
        restored = self.specialists.restore(specialist, pixels)
        for track, image in zip(tracks, restored, strict=True):
            track.restored, track.step = image[:, : track.place.height, : track.place.width], 1

    def _system(self, track: AutoDIRTrack) -> System:
        return self._taught.get(track.run.label, self._own)

    def _advance(self, system: System, tracks: Sequence[AutoDIRTrack]) -> None:
        fresh = [track for track in tracks if track.z is None]
        if fresh:
            self._encode(system, fresh)
        at = StepCoefficients.stack([track.plan[track.step] for track in tracks], self.device)
        z = torch.stack([not_none(track.z) for track in tracks])  # (B, C, h, w)
        denoised = self._denoise(system, tracks, z, at)
        earlier = torch.stack(
            [now if track.earlier is None else track.earlier for track, now in zip(tracks, denoised, strict=True)]
        )
        z = advance(z, denoised, earlier, self._noise(tracks, z), at)
        for track, state, estimate in zip(tracks, z, denoised, strict=True):
            track.z, track.earlier, track.step = state, estimate, track.step + 1

    def _denoise(self, system: System, tracks: Sequence[AutoDIRTrack], z: Tensor, at: StepCoefficients) -> Tensor:
        """Returns the estimated clean latents (B, C, h, w)."""
        z_image = torch.stack([not_none(track.z_image) for track in tracks])
        context = torch.stack([not_none(track.run.condition) for track in tracks]).to(self.device)  # (B, L, D)
        scales = [(track.run.controls.text_guidance, track.run.controls.image_guidance) for track in tracks]
        scaled = at.input_scale * z
        output = system.denoise(
            scaled, z_image, at.timestep, context, scales,
            [track.step for track in tracks], [track.cache for track in tracks],
        )  # fmt: skip
        return denoised_from(self.config.air.prediction, scaled, output, at)

    def _noise(self, tracks: Sequence[AutoDIRTrack], like: Tensor) -> Tensor:
        """Returns each image's own next draw, zero for steps without noise: (B, C, h, w)."""
        shape = tuple(like.shape[1:])
        drawn = [t.stream.draw(shape) if t.plan[t.step].spread else torch.zeros(shape) for t in tracks]
        return to_device(torch.stack(drawn), like.device)

    def _encode(self, system: System, tracks: Sequence[AutoDIRTrack]) -> None:
        pixels = torch.stack([self._padded(track) for track in tracks])  # (B, 3, H', W')
        for track, z_image in zip(tracks, system.air.encode(pixels).float(), strict=True):
            track.z_image = z_image
            track.z = track.stream.draw(tuple(z_image.shape)).to(self.device) * self._amplitude(track)

    def _amplitude(self, track: AutoDIRTrack) -> float:
        """Returns the amplitude of the first noise; the published program has no temperature."""
        temperature = 1.0 if track.run.controls.strict else self.config.loop.temperature
        return track.plan.initial_scale * temperature

    def _padded(self, track: PassTrack) -> Tensor:
        return pad_to(self._degraded(track)[None], track.padded, "reflect")[0]

    def _degraded(self, track: PassTrack) -> Tensor:
        """Returns the track's tile of the image, (3, h, w) float32 on the device."""
        if isinstance(track, SpecialistTrack) and track.whole:
            return to_device(not_none(track.run.overview), self.device)
        return track.area.floats(track.run.image if track.run.small is None else track.run.small, self.device)

    @torch.inference_mode()
    def finish(self, tracks: Sequence[Track]) -> list[Outcome]:
        """Decode and correct each tile; the last tile of an image ends its pass.

        The images of which the pass ends are assessed together.
        """
        ours = of_family(tracks, PassTrack)
        for track in ours:
            self._close(track)
        ending = [track for track in ours if track.outcome is None]
        results = [result_of(track.run, self.config, self.envelope) for track in ending]
        looked = [(result, track.run.controls.strict) for track, result in zip(ending, results, strict=True)]
        for track, result, after in zip(ending, results, self._assessed(looked), strict=True):
            with unchanged_on_failure(track.run):
                track.outcome = self._end_pass(track.run, result, after)
        return [track.outcome for track in ours if track.outcome is not None]  # every one has an outcome

    def _close(self, track: PassTrack) -> None:
        """Add a tile to its image, once; all tiles but the last wait."""
        run = track.run
        if track.closed:
            return
        if isinstance(track, SpecialistTrack):
            place = track.place
            before = self._degraded(track) if track.whole else place.floats(run.image, self.device)
            restored = torch.lerp(before, not_none(track.restored), self._fidelity(run))
            track.restored = None
        else:
            place, restored = track.area, self._corrected(of_family([track], AutoDIRTrack)[0])
        if isinstance(track, SpecialistTrack) and track.whole:
            run.tone = restored
        else:
            not_none(run.restored).add(place, restored)
        run.tiles_left, track.closed = run.tiles_left - 1, True
        if run.tiles_left:
            track.outcome = Waits()

    def _corrected(self, track: AutoDIRTrack) -> Tensor:
        """Returns I_res of the tile, (3, h, w), and frees the latents."""
        run, area, system = track.run, track.area, self._system(track)
        diffused = system.air.decode(not_none(track.z)[None])[..., : area.height, : area.width].float()
        if not run.controls.strict:
            diffused = diffused.clamp(-1, 1)
        restored: Tensor = system.scm(self._degraded(track)[None], diffused, self._fidelity(run))[0]
        if run.diffused is not None:
            run.diffused.add(area, diffused[0])
        track.z = track.z_image = track.earlier = None
        track.cache.deep = track.cache.guidance_offset = None
        return restored

    def _fidelity(self, run: ImageRun) -> float:
        fidelity = run.controls.fidelity
        return self.config.fidelity.get(run.label, 1.0) if fidelity is None else fidelity

    def _end_pass(self, run: ImageRun, result: Tensor, after: dict[str, float]) -> Outcome:
        carried = result if run.carried is None else run.carried
        refusal = refusal_of(run, result, after, self.config, self.envelope)
        share = run.controls.share_of(run.label)
        if share < 1:  # the repair was judged as a whole
            result = mix(run.image, result, share)
            carried = result if run.carried is None else mix(run.image, carried, share)
        run.passes = [*run.passes, pass_report(run, result, after[run.label], kept=refusal is None)]
        was_enlarged, run.small = run.small is not None, None
        run.blended = run.carried = run.reference = run.overview = run.tone = None
        run.remaining = tuple(name for name in run.remaining if name != run.label)
        if refusal is not None:
            return self._undone(run, refusal)
        seen, run.result, run.image = carried is result and share == 1, result, carried
        if run.free_prompt:
            return self._done(run, "prompt-done")
        run.before = after if seen else self._assessed([(carried, run.controls.strict)])[0]
        if was_enlarged and not run.asked:  # what is left was left in the photo's own size
            return self._done(run, next_repair(run, self.config)[0].stop or "still-degraded")
        return self._choose(run)

    def _undone(self, run: ImageRun, reason: str) -> Outcome:
        """End the loop after a pass that is taken back, unless an enlarged photo still waits for its repair."""
        if not owes_enlarging_repair(run, self.config):
            return self._done(run, reason)
        run.remaining = tuple(name for name in run.remaining if name in (ENLARGING_REPAIR, CLEAN))
        return self._choose(run)

    def _done(self, run: ImageRun, reason: str) -> Restored:
        return finished(
            run.original, run.result, run.controls,
            lambda change, warnings: report_of(run, self.config, reason, change, warnings),
        )  # fmt: skip
