"""DA-CLIP and a restoration network as a family: one assessment and one pass (arXiv:2310.01018 and arXiv:2404.09732).

The controller assesses the image once, and all tiles share its two embeddings.  An IR-SDE U-Net then denoises from the
noisy degraded image, or a NAFNet restores it in one step.

How this family applies the user's controls:

    only, skip   leave degradations out.  If the image's most probable degradation remains, the image's own embedding
                 conditions the network, as published.  Otherwise, and in bundles with `spoken`, it is the embedding of
                 the most probable remaining word, scaled to the same norm.
    prompt       takes the place of that word.  Bundles that take prompts as words (models.prompt_plan) run a pass for
                 each repair that they ask for, with the embedding of its word.
    steps        the number of sampling steps.
    strict       makes a prompt a free one, without the safety envelope.  fidelity and guidance have no effect.

Networks without a degradation embedding (the wild ones) repair what they recognize: they refuse `only` and `skip`, and
ignore a prompt with a warning.  No image is assessed as clean: the family always restores.

Shapes:  B tracks, H W pixels, D joint width, E embedding, T steps.  Images are RGB (3, H, W), see models.pixels, on the
device or in host memory; states of running tracks are on the device, in [0, 1], the range of the networks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from models.controls import Controls, refuse_shares_with_prompt, renormalized, wanted_names
from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.conditional_unet import ConditionalUNet, Constants
from models.daclip.config import DaCLIPConfig
from models.daclip.controller import DaCLIP, classify, match_norm, preprocess
from models.daclip.irsde import (
    IRSDE,
    Coefficients,
    initial_state,
    ode_step,
    posterior_step,
    schedule_of,
    score_from_noise,
    sde_step,
)
from models.daclip.reports import pass_report, report_of
from models.daclip.track import DaCLIPTrack, ImageRun
from models.device import to_device
from models.errors import ControlsError
from models.frames import padded_size
from models.noise import tile_noise
from models.optional import not_none
from models.pixels import mix, pad_to_multiple
from models.prompt_plan import PromptPlan, plan_for, wish_of, with_wish
from models.prompt_words import understand
from models.restoration_report import Change, Report
from models.restorer import (
    ENLARGING_REPAIR,
    NO_ENLARGING_REPAIR,
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
from models.tracks import cut_into_tiles, of_family, rewound_on_failure
from models.views import ASSESSED_TOGETHER, in_parts, weighted_views
from models.vocabulary import CLEAN
from models.warning_codes import PROMPT_IGNORED


class DaCLIPRestorer:
    """Restores with the controller and one restoration network, both resident on a device."""

    def __init__(
        self,
        config: DaCLIPConfig,
        controller: DaCLIP,
        network: ConditionalUNet | ConditionalNAFNet,
        device: torch.device,
    ) -> None:
        self.config, self.controller, self.network, self.device = config, controller, network, device
        self._word_features: Tensor | None = None
        self.envelope = Envelope()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.config.words)

    @property
    def takes_degradation(self) -> bool:
        """Whether a degradation embedding conditions the network."""
        return self.config.nafnet is not None or (self.config.unet is not None and self.config.unet.prompt)

    @torch.inference_mode()
    def warm_up(self, shapes: Sequence[Shape]) -> None:
        """Compute the embeddings of the words; shapes need no preparation."""
        self._features_of_words()

    @torch.inference_mode()
    def assess(self, images: Sequence[Tensor]) -> list[Assessment]:
        """Returns a probability for each degradation; the condition is the degradation embedding (1, D)."""
        embeddings = self._averaged(images, lambda views: (self.controller.degradation(views)[0],))
        return [Assessment(probabilities=self._probabilities(own), condition=own) for (own,) in embeddings]

    @torch.inference_mode()
    def begin(self, requests: Sequence[Request]) -> list[Outcome]:
        """Assess and start each image.  The controls are checked first: a wrong one costs no assessment.

        Raises:
            ControlsError: `only` or `skip` names an unknown degradation, comes together with a prompt, or cannot be
                applied because the network takes no degradation embedding.
        """
        plans = [self._plan(request.controls) for request in requests]
        allowed = [self._allowed_names(request.controls, plan) for request, plan in zip(requests, plans, strict=True)]
        admitted = [
            self.envelope.admitted(as_ordered(request, plan), names)
            for request, names, plan in zip(requests, allowed, plans, strict=True)
        ]
        shown = [
            request.assessed[-1] for request, (_, reason) in zip(requests, admitted, strict=True) if reason is None
        ]
        embeddings = iter(self._averaged(shown, self.controller))
        return [
            self._begin(request, names, plan, *next(embeddings)) if reason is None else untouched(request, reason, plan)
            for request, (names, reason), plan in zip(requests, admitted, plans, strict=True)
        ]

    def _plan(self, controls: Controls) -> PromptPlan | None:
        return plan_for(controls, self.config.prompts, self.names, lambda prompt: self._scores_of([prompt])[0])

    def _begin(
        self, request: Request, allowed: tuple[str, ...], plan: PromptPlan | None, content: Tensor, degradation: Tensor
    ) -> Outcome:
        """Start an image; `content` and `degradation` are its embeddings, (1, D) each."""
        controls = request.controls
        run = ImageRun(
            controls=controls, image=request.image, probabilities=self._probabilities(degradation),
            original=request.image, tile_px=request.tile_px,
        )  # fmt: skip
        if plan is not None:
            degradation = self._condition_from_plan(run, plan, allowed, degradation)
        elif controls.prompt is not None:
            degradation = self._condition_from_prompt(run, controls.prompt, degradation)
        else:
            degradation = self._condition_from_names(run, allowed, degradation)
        run.constants = self.network.prepare(content, degradation)
        return self._start(run, request.tile_px)

    def _allowed_names(self, controls: Controls, plan: PromptPlan | None) -> tuple[str, ...]:
        if controls.prompt is not None and (controls.only or controls.skip):
            raise ControlsError("got a prompt together with only or skip; a prompt already says what to repair")
        if plan is None:
            refuse_shares_with_prompt(controls)
        if (controls.only or controls.skip) and not self.takes_degradation:
            raise ControlsError("this bundle cannot be told what to repair; leave out only and skip")
        allowed = tuple(name for name in wanted_names((*self.names, CLEAN), controls) if name != CLEAN)
        if 0 < len(allowed) < len(self.names) and not self.takes_degradation:
            raise ControlsError("this bundle cannot be told what to repair; leave out strength 0 of a degradation")
        return allowed if plan is None else plan.allowed(allowed)

    def _condition_from_names(self, run: ImageRun, allowed: tuple[str, ...], degradation: Tensor) -> Tensor:
        """Choose the label; returns the degradation embedding (1, D) to use, the image's own or that of a word."""
        shares = renormalized(run.probabilities, allowed)
        run.label = max(allowed, key=lambda name: shares[name])
        run.probability = shares[run.label]
        most_probable = max(run.probabilities, key=lambda name: run.probabilities[name])
        if not self.config.loop.spoken and run.label == most_probable:
            return degradation
        return match_norm(self._features_of_words()[[self.names.index(run.label)]], degradation)

    def _condition_from_plan(
        self, run: ImageRun, plan: PromptPlan, allowed: tuple[str, ...], degradation: Tensor
    ) -> Tensor:
        """Choose the label of the first pass, and those that follow; returns the degradation embedding (1, D)."""
        run.plan, run.understood, run.warnings = plan, plan.understood("label"), plan.warnings
        if plan.action == "auto":
            return self._condition_from_names(run, allowed, degradation)
        run.source, limit = "user", run.controls.max_passes
        run.label, *following = (name for name in plan.repairs if name in allowed)
        run.asked = tuple(following if limit is None else following[: limit - 1])
        run.cut = len(run.asked) < len(following)
        return self._condition_from_label(run, degradation)

    def _condition_from_label(self, run: ImageRun, degradation: Tensor) -> Tensor:
        run.probability = run.probabilities[run.label]
        return match_norm(self._features_of_words()[[self.names.index(run.label)]], degradation)

    def _condition_from_prompt(self, run: ImageRun, prompt: str, degradation: Tensor) -> Tensor:
        """Set the label to the name closest to the prompt; returns the degradation embedding (1, D) to use."""
        features = self.controller.word_features([prompt])
        similarity = self._probabilities(features)
        run.source, run.label = "user", max(similarity, key=lambda name: similarity[name])
        used: Literal["text", "nothing"] = "text" if self.takes_degradation else "nothing"
        run.understood = with_wish(understand(prompt, self._scores_of, used), wish_of(prompt, self.names))
        run.probability = run.probabilities[run.label]
        if self.takes_degradation:
            return match_norm(features, degradation)
        run.warnings = (PROMPT_IGNORED,)
        return degradation

    def _scores_of(self, prompts: Sequence[str]) -> list[dict[str, float]]:
        return [self._probabilities(row[None]) for row in self.controller.word_features(prompts)]

    def _start(self, run: ImageRun, tile_px: int | None) -> Outcome:
        height, width = run.image.shape[-2:]
        areas, overlap = cut_into_tiles(run.image, self.config.loop, self.network.config.stride, tile_px)
        sde = self._schedule(run.controls)
        if sde is not None:
            times = sde.at(torch.arange(sde.T, 0, -1)).time.flatten().to(self.device)
            run.embeddings = self._unet.embed(times, not_none(run.constants))
        run.canvas = Canvas(height, width, overlap, run.image.device)
        run.tiles_left, run.started_s = len(areas), time.monotonic()
        return Continues(tracks=[self._track(run, area, sde) for area in areas], report=self._report(run, ""))

    def _schedule(self, controls: Controls) -> IRSDE | None:
        if self.config.unet is None:
            return None
        default = self.config.sde.sample_steps or self.config.sde.steps
        steps = controls.steps_of(default)
        return schedule_of(self.config.sde, None if steps == default and controls.steps is None else steps)

    def _track(self, run: ImageRun, area: Tile, sde: IRSDE | None) -> DaCLIPTrack:
        padded = padded_size(area.height, area.width, self.network.config.stride)
        done = len(run.passes)
        return DaCLIPTrack(
            run, area, sde, padded, tile_noise(run.controls.seed, area), pass_index=done,
            passes=done + 1 + len(run.asked),
        )  # fmt: skip

    @torch.inference_mode()
    def step(self, tracks: Sequence[Track]) -> None:
        """Run one step of each track; all must have the same padded shape, but may be at any step of any schedule.

        A step that fails leaves the tracks unchanged.
        """
        ours = of_family(tracks, DaCLIPTrack)
        with rewound_on_failure(ours):
            self._advance(ours)

    def _advance(self, tracks: Sequence[DaCLIPTrack]) -> None:
        for track in tracks:
            if track.x is None:
                self._set_initial_state(track)
        mu = self._padded_batch([track.mu for track in tracks])  # (B, 3, H', W')
        constants = Constants.stack([not_none(track.run.constants) for track in tracks])
        if isinstance(self.network, ConditionalNAFNet):
            states = self.network(mu, constants)
        else:
            states = self._denoised(tracks, mu, constants)
        for track, state in zip(tracks, states, strict=True):
            track.x, track.step = state[:, : track.area.height, : track.area.width], track.step + 1

    def _set_initial_state(self, track: DaCLIPTrack) -> None:
        """Start from the degraded image, with noise of the highest level unless there is only one step."""
        track.mu = (track.area.floats(track.run.image, self.device) + 1).div_(2)
        if track.sde is None:
            track.x = track.mu
        else:
            drawn = track.stream.draw(tuple(track.mu.shape)).to(self.device)
            track.x = initial_state(track.mu, drawn, track.sde.max_sigma)

    def _denoised(self, tracks: Sequence[DaCLIPTrack], mu: Tensor, constants: Constants) -> Tensor:
        """Returns the next states, (B, 3, H', W'); the caller crops the padding."""
        x = self._padded_batch([track.x for track in tracks])
        rows = [not_none(track.sde).at(torch.tensor([track.steps - track.step])) for track in tracks]
        at = Coefficients.stack(rows, self.device)
        embedding = torch.stack([not_none(track.run.embeddings)[track.step] for track in tracks])  # (B, E)
        eps = self._unet.denoise(x, mu, embedding, constants.cross_vectors)
        if self.config.loop.sampler == "ode":
            return ode_step(x, mu, score_from_noise(eps, at), at)
        z = self._noise(tracks, x)
        if self.config.loop.sampler == "sde":
            return sde_step(x, mu, score_from_noise(eps, at), z, at)
        return posterior_step(x, mu, eps, z, at)

    def _noise(self, tracks: Sequence[DaCLIPTrack], like: Tensor) -> Tensor:
        """Draw the next noise of each tile at its own size and zero-pad it, (B, 3, H', W')."""
        drawn = [track.stream.draw((3, track.area.height, track.area.width)) for track in tracks]
        stride = self.network.config.stride
        return to_device(torch.stack([pad_to_multiple(noise, stride) for noise in drawn]), like.device)

    def _padded_batch(self, parts: Sequence[Tensor | None]) -> Tensor:
        """Pad each tile as the network pads it alone, so that tiles of one padded shape can share a step."""
        stride = self.network.config.stride
        mode = "reflect" if self.config.unet else "constant"
        return torch.cat([pad_to_multiple(not_none(part)[None], stride, mode) for part in parts])

    @torch.inference_mode()
    def finish(self, tracks: Sequence[Track]) -> list[Outcome]:
        """Add each tile to its image; the last tile completes the image."""
        ours = of_family(tracks, DaCLIPTrack)
        for track in ours:
            if track.outcome is None:
                track.outcome = self._finish(track)
        return [track.outcome for track in ours if track.outcome is not None]  # every one has an outcome

    def _finish(self, track: DaCLIPTrack) -> Outcome:
        run = track.run
        if track.x is not None:  # else this is tried again
            not_none(run.canvas).add(track.area, track.x.mul(2).sub_(1).clamp_(-1, 1))
            track.x = track.mu = None
            run.tiles_left -= 1
        if run.tiles_left:
            return Waits()
        if run.canvas is not None:  # a canvas gives its image once
            run.result, run.canvas = run.canvas.image().clamp_(-1, 1), None
        run.constants = run.embeddings = None
        result = self.envelope.shaped(run.controls, run.label, run.image, not_none(run.result))
        if run.asked:
            return self._next_pass(run, result)
        if run.source == "user":
            return self._restored(run, result, "max-passes" if run.cut else "prompt-done")
        refusal = None if run.controls.strict else self.envelope.refusal(run.label, run.image, result, later=False)
        run.kept = refusal is None
        return self._restored(run, result if run.kept else run.image, refusal or "max-passes")

    def _next_pass(self, run: ImageRun, result: Tensor) -> Outcome:
        """Start the next repair that the prompt asks for, from the result of the last one."""
        result = self._shared(run, result)
        content, degradation = self._averaged([result], self.controller)[0]
        following = replace(
            run, image=result, result=None, probabilities=self._probabilities(degradation), label=run.asked[0],
            asked=run.asked[1:], passes=(*run.passes, pass_report(run, result, drawn=self.config.unet is not None)),
        )  # fmt: skip
        following.first = run.first or run.probabilities
        degradation = self._condition_from_label(following, degradation)
        following.constants = self.network.prepare(content, degradation)
        return self._start(following, run.tile_px)

    def _shared(self, run: ImageRun, result: Tensor) -> Tensor:
        """Returns the result of a pass, with the user's share of its repair."""
        share = run.controls.share_of(run.label)
        return mix(run.image, result, share) if share < 1 and run.kept else result

    def _restored(self, run: ImageRun, result: Tensor, stop_reason: str) -> Restored:
        result = self._shared(run, result)
        last = pass_report(run, result, drawn=self.config.unet is not None)
        done = replace(run, passes=(*run.passes, last))  # a copy: this may be tried again
        return finished(
            not_none(run.original), result, run.controls,
            lambda change, warnings: self._report(done, stop_reason, change, warnings),
        )  # fmt: skip

    def _report(
        self, run: ImageRun, stop_reason: str, change: Change | None = None, warnings: tuple[str, ...] = ()
    ) -> Report:
        sde = self._schedule(run.controls)
        if run.controls.scale > 1 and ENLARGING_REPAIR not in self.names:
            warnings = (NO_ENLARGING_REPAIR, *warnings)
        return report_of(run, stop_reason, change, warnings, steps=sde.T if sde else 1)

    @property
    def _unet(self) -> ConditionalUNet:
        assert isinstance(self.network, ConditionalUNet), "only the U-Net runs more than one step"
        return self.network

    def _averaged(
        self, images: Sequence[Tensor], encode: Callable[[Tensor], tuple[Tensor, ...]]
    ) -> list[tuple[Tensor, ...]]:
        """Returns each image's embeddings, (1, D) each, averaged over its views; views of several images share a call.

        `encode` takes views (V, 3, S, S) and returns embeddings (V, D) of one or several kinds.
        """
        averaged: list[tuple[Tensor, ...]] = []
        for part in in_parts(images, ASSESSED_TOGETHER):
            views, weights = zip(*(self._views(image) for image in part), strict=True)
            kinds = [torch.split(kind, [len(own) for own in views]) for kind in encode(torch.cat(views))]
            averaged += [
                tuple(weight @ own for own in each)
                for weight, each in zip(weights, zip(*kinds, strict=True), strict=True)
            ]
        return averaged

    def _views(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Returns V inputs of the controller, (V, 3, S, S), and the weights (1, V) of their embeddings."""
        clip, loop = self.config.controller.clip, self.config.loop
        crops, weights = [image], [1.0]
        if loop.views:
            crops, weights = weighted_views(image, clip.vision.image_size, loop.views, loop.overview)
        views = torch.stack([preprocess(crop, clip) for crop in crops]).to(self.device)
        return views, views.new_tensor(weights)[None]

    def _features_of_words(self) -> Tensor:
        """Returns the text features (K, D) of the degradations, computed once."""
        if self._word_features is None:
            self._word_features = self.controller.word_features(list(self.config.words.values()))
        return self._word_features

    def _probabilities(self, embedding: Tensor) -> dict[str, float]:
        """Returns the probability of each degradation for an embedding (1, D)."""
        return dict(zip(self.names, classify(embedding, self._features_of_words())[0].tolist(), strict=True))
