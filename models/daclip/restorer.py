"""DA-CLIP and a restoration network as a family: one look, one pass (Luo et al. 2024, arXiv:2310.01018 and 2404.09732).

The controller looks at the picture once; its two embeddings are shared by all tiles.  An IR-SDE U-Net then walks
back from the noisy degraded picture, or a NAFNet answers in one step.

How the user's words are meant here.  `only` and `skip` leave names out; where the picture's own most probable name is
left, its own embedding conditions the network as published, else (and in a bundle that says `spoken`) the embedding of
the most probable word that is left, at the same length.  A `prompt` is such a word too.  Networks that take no
degradation embedding (the wild ones) repair what they see: they refuse `only` and `skip`, and pass a prompt over with a
warning.  `steps` is sample_T; `strict`, `fidelity`, `max_passes` and guidance change nothing, since there is one pass
and it is the published one.  There is no answer "clean": the family always restores.

Shapes:  B tracks, H W pixels, D joint width, E embedding, T steps.  Images are RGB float32 (3, H, W) in [-1, 1], in
host memory; states of the tracks at hand are on the device, in [0, 1] as the networks want them.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from models.autodir.policy import allowed_names, renormalized
from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.conditional_unet import ConditionalUNet, Constants
from models.daclip.config import DaCLIPConfig
from models.daclip.controller import DaCLIP, as_long, classify, preprocess
from models.daclip.irsde import (
    IRSDE,
    Coefficients,
    ode_step,
    posterior_step,
    schedule_of,
    score_from_noise,
    sde_step,
    start,
)
from models.daclip.track import DaCLIPTrack, Job
from models.errors import ControlsError
from models.noise import tile_noise
from models.optional import not_none
from models.pixels import pad_to_multiple
from models.restorer import (
    Assessment,
    Continues,
    Controls,
    Outcome,
    PassReport,
    Report,
    Request,
    Restored,
    Shape,
    Track,
    Waits,
    final_image,
)
from models.tiles import Canvas, Tile
from models.tracks import cut_into_tiles, of_family, padded_size, rewound_on_failure
from models.views import looks
from models.vocabulary import CLEAN

UNSTEERED = "this bundle repairs what it sees, so the prompt changed nothing"


class DaCLIPRestorer:
    """The controller and one restoration network, resident on a device."""

    def __init__(
        self,
        config: DaCLIPConfig,
        controller: DaCLIP,
        network: ConditionalUNet | ConditionalNAFNet,
        device: torch.device,
    ) -> None:
        self.config, self.controller, self.network, self.device = config, controller, network, device
        self._words: Tensor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.config.words)

    @property
    def steered(self) -> bool:
        """Whether the network takes a degradation embedding."""
        return self.config.nafnet is not None or (self.config.unet is not None and self.config.unet.prompt)

    @torch.inference_mode()
    def warm_up(self, shapes: Sequence[Shape]) -> None:
        """Compute the embeddings of the words; shapes need no preparation."""
        self._features()

    @torch.inference_mode()
    def assess(self, images: Sequence[Tensor]) -> list[Assessment]:
        """A probability for each word, from one look at each image; the condition is the embedding (1, D)."""
        found = []
        for image in images:
            pixels, shares = self._seen(image)
            degradation = shares @ self.controller.degradation(pixels)[0]
            found.append(Assessment(probabilities=self._named(degradation), condition=degradation))
        return found

    @torch.inference_mode()
    def begin(self, requests: Sequence[Request]) -> list[Outcome]:
        """Assess and start each image.

        Raises:
            ControlsError: a degradation that the bundle does not know, a prompt together with only or skip, or only or
                skip where the network takes no degradation embedding.
        """
        return [self._open(request) for request in requests]

    def _open(self, request: Request) -> Outcome:
        controls = request.controls
        left = self._left(controls)
        content, degradation = self._embedded(request.image)
        job = Job(controls=controls, image=request.image, seen=self._named(degradation))
        if controls.strength == 0:
            return self._done(job, request.image, "strength-zero")
        if controls.prompt is not None:
            degradation = self._told(job, controls.prompt, degradation)
        else:
            degradation = self._chosen(job, left, degradation)
        job.constants = self.network.prepare(content, degradation)
        return self._start(job, request.tile_px)

    def _left(self, controls: Controls) -> tuple[str, ...]:
        if controls.prompt is not None and (controls.only or controls.skip):
            raise ControlsError("got a prompt together with only or skip; a prompt already says what to repair")
        if (controls.only or controls.skip) and not self.steered:
            raise ControlsError("this bundle repairs what it sees and takes no only or skip; leave them out")
        return tuple(
            name for name in allowed_names((*self.names, CLEAN), controls.only, controls.skip) if name != CLEAN
        )

    def _chosen(self, job: Job, left: tuple[str, ...], own: Tensor) -> Tensor:
        """The picture's own embedding where its most probable name is left and speaks for itself, else the best word's.

        (1, D).
        """
        shares = renormalized(job.seen, left)
        job.label = max(left, key=lambda name: shares[name])
        job.probability = shares[job.label]
        if not self.config.loop.spoken and job.label == max(job.seen, key=lambda name: job.seen[name]):
            return own
        return as_long(self._features()[[self.names.index(job.label)]], own)

    def _told(self, job: Job, prompt: str, own: Tensor) -> Tensor:
        features = self.controller.words([prompt])
        understood = self._named(features)
        job.source, job.label = "user", max(understood, key=lambda name: understood[name])
        job.probability = job.seen[job.label]
        if self.steered:
            return as_long(features, own)
        job.warnings = (UNSTEERED,)
        return own

    def _start(self, job: Job, tile_px: int | None) -> Outcome:
        height, width = job.image.shape[-2:]
        cuts, overlap = cut_into_tiles(job.image, self.config.loop, tile_px)
        sde = self._schedule(job.controls)
        if sde is not None:
            times = sde.at(torch.arange(sde.T, 0, -1)).time.flatten().to(self.device)
            job.embeddings = self._unet.embed(times, not_none(job.constants))
        job.canvas = Canvas(height, width, overlap)
        job.tiles_left, job.started_s = len(cuts), time.monotonic()
        return Continues(tracks=[self._track(job, cut, sde) for cut in cuts], report=self._report(job, ""))

    def _schedule(self, controls: Controls) -> IRSDE | None:
        if self.config.unet is None:
            return None
        return schedule_of(self.config.sde, controls.steps)

    def _track(self, job: Job, cut: Tile, sde: IRSDE | None) -> DaCLIPTrack:
        padded = padded_size(cut, self.network.config.stride)
        return DaCLIPTrack(job, cut, sde, padded, tile_noise(job.controls.seed, cut))

    @torch.inference_mode()
    def step(self, tracks: Sequence[Track]) -> None:
        """One step for each; all of one padded shape, at any steps of any schedules.

        A step that fails leaves no trace.
        """
        ours = of_family(tracks, DaCLIPTrack)
        with rewound_on_failure(ours):
            self._advance(ours)

    def _advance(self, tracks: Sequence[DaCLIPTrack]) -> None:
        for track in tracks:
            if track.x is None:
                self._enter(track)
        mu = self._stacked([track.mu for track in tracks])  # (B, 3, H', W')
        constants = Constants.stack([not_none(track.job.constants) for track in tracks])
        if isinstance(self.network, ConditionalNAFNet):
            after = self.network(mu, constants)
        else:
            after = self._denoised(tracks, mu, constants)
        for track, state in zip(tracks, after, strict=True):
            track.x, track.step = state[:, : track.cut.height, : track.cut.width], track.step + 1

    def _enter(self, track: DaCLIPTrack) -> None:
        """The first state: the degraded picture with all its noise, or as it is where there is one step."""
        track.mu = (track.cut.cut(track.job.image) + 1).div_(2).to(self.device)
        if track.sde is None:
            track.x = track.mu
        else:
            drawn = track.stream.draw(tuple(track.mu.shape)).to(self.device)
            track.x = start(track.mu, drawn, track.sde.max_sigma)

    def _denoised(self, tracks: Sequence[DaCLIPTrack], mu: Tensor, constants: Constants) -> Tensor:
        """The states one step on: (B, 3, H', W').  What is beyond a track's own size is cut off by the caller."""
        x = self._stacked([track.x for track in tracks])
        rows = [not_none(track.sde).at(torch.tensor([track.steps - track.step])) for track in tracks]
        at = Coefficients.stack(rows, self.device)
        embedding = torch.stack([not_none(track.job.embeddings)[track.step] for track in tracks])  # (B, E)
        eps = self._unet.denoise(x, mu, embedding, constants.crosses)
        if self.config.loop.sampler == "ode":
            return ode_step(x, mu, score_from_noise(eps, at), at)
        z = self._noise(tracks, x)
        if self.config.loop.sampler == "sde":
            return sde_step(x, mu, score_from_noise(eps, at), z, at)
        return posterior_step(x, mu, eps, z, at)

    def _noise(self, tracks: Sequence[DaCLIPTrack], like: Tensor) -> Tensor:
        """Each tile's own next draw, at its own size, with zeros around: (B, 3, H', W')."""
        drawn = [track.stream.draw((3, track.cut.height, track.cut.width)) for track in tracks]
        stride = self.network.config.stride
        return torch.stack([pad_to_multiple(one, stride) for one in drawn]).to(like)

    def _stacked(self, parts: Sequence[Tensor | None]) -> Tensor:
        """Padded each by itself, as the U-Net does it alone, so that sizes of one padded shape may share a step."""
        stride = self.network.config.stride
        mode = "reflect" if self.config.unet else "constant"
        return torch.cat([pad_to_multiple(not_none(part)[None], stride, mode) for part in parts])

    @torch.inference_mode()
    def finish(self, tracks: Sequence[Track]) -> list[Outcome]:
        """Put each tile into its image; the last one ends it."""
        return [self._close(track) for track in of_family(tracks, DaCLIPTrack)]

    def _close(self, track: DaCLIPTrack) -> Outcome:
        job = track.job
        canvas = not_none(job.canvas)
        canvas.add(track.cut, not_none(track.x).mul(2).sub_(1).clamp_(-1, 1))
        track.x = track.mu = None
        job.tiles_left -= 1
        if job.tiles_left:
            return Waits()
        job.canvas = job.constants = job.embeddings = None
        result = canvas.image().clamp_(-1, 1)
        return self._done(job, result, "prompt-done" if job.source == "user" else "max-passes")

    def _done(self, job: Job, result: Tensor, reason: str) -> Restored:
        return Restored(image=final_image(job.image, result, job.controls), report=self._report(job, reason))

    def _report(self, job: Job, reason: str) -> Report:
        passed = PassReport(
            label=job.label,
            source=job.source,
            by="diffusion" if self._schedule(job.controls) else "network",
            probability_before=job.probability,
            probability_after=None,  # a second look would cost more than a pass of the NAFNet
            kept=True,
            seconds=time.monotonic() - job.started_s,
        )
        sde = self._schedule(job.controls)
        return Report(
            degradations=dict(sorted(job.seen.items(), key=lambda item: -item[1])),
            passes=(passed,) if reason not in ("", "strength-zero") else (),
            stop_reason=reason,
            seed=job.controls.seed,
            steps=sde.T if sde else 1,
            warnings=job.warnings,
        )

    @property
    def _unet(self) -> ConditionalUNet:
        assert isinstance(self.network, ConditionalUNet), "only the U-Net takes more than one step"
        return self.network

    def _embedded(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Content and degradation embeddings, (1, D) each."""
        pixels, shares = self._seen(image)
        content, degradation = self.controller(pixels)
        return shares @ content, shares @ degradation

    def _seen(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What the controller looks at, (V, 3, S, S), and the shares (1, V) of the views in its embeddings."""
        clip, loop = self.config.controller.clip, self.config.loop
        crops, shares = [image], [1.0]
        if loop.views:
            crops, shares = looks(image, clip.vision.image_size, loop.views, loop.overview)
        pixels = torch.stack([preprocess(crop, clip) for crop in crops]).to(self.device)
        return pixels, pixels.new_tensor(shares)[None]

    def _features(self) -> Tensor:
        """Of the words, (K, D); computed once, the text tower is frozen."""
        if self._words is None:
            self._words = self.controller.words(list(self.config.words.values()))
        return self._words

    def _named(self, embedding: Tensor) -> dict[str, float]:
        return dict(zip(self.names, classify(embedding, self._features())[0].tolist(), strict=True))
