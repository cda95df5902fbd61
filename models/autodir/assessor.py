"""BIQA, AutoDIR's blind quality assessor: how well each class prompt fits an image (arXiv:2310.10123, section 3.1).

One CLIP gives both the probabilities and the denoiser's condition.  Probabilities are a softmax over the class prompts
with CLIP's temperature; the condition e_auto is the mixture of the prompts' token *sequences* by these probabilities.

Shapes:  B images, V views, K names, L tokens, D text width, E joint width.  Images are RGB (3, H, W) in [-1, 1].
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.device import to_device
from models.networks.clip import ClipConfig, build_clip, text_states, tokenize
from models.pixels import floats
from models.views import weighted_views
from models.vocabulary import CLEAN, NOTHING, degradation

PROMPTS_KEPT = 64
"""Number of user prompts whose states are kept; 0.24 MB each at the published size."""


def prompt_of(name: str) -> str:
    """Returns the class prompt: "A photo needs {word} artifact reduction"."""
    return (NOTHING if name == CLEAN else degradation(name)).prompt


def center_crop(image: Tensor, side: int) -> Tensor:
    """Returns the published view, native scale with black around: (3, H, W) in [-1, 1] -> (3, side, side) in [0, 1]."""
    height, width = image.shape[-2:]
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    unit = (floats(image[:, top : top + side, left : left + side]) + 1) / 2
    down, right = max(side - height, 0), max(side - width, 0)
    return F.pad(unit, (right // 2, right - right // 2, down // 2, down - down // 2))


def mixture(probabilities: Tensor, states: Tensor) -> Tensor:
    """Returns e_auto = sum_i p_i H_i: (K,) and (K, L, D) -> (L, D)."""
    return torch.einsum("k,kld->ld", probabilities, states)


class Assessor(nn.Module):
    """CLIP with its class prompts.

    At most `most_views` native-scale crops are assessed; `overview` is the share of the shrunk whole image in the
    answer; `wary` is subtracted from the logit of "clean".  The strict view ignores all three.
    """

    def __init__(
        self, config: ClipConfig, names: Sequence[str], most_views: int = 9, overview: float = 0.0, wary: float = 0.0
    ) -> None:
        super().__init__()
        self.config, self.names = config, tuple(names)
        self.most_views, self.overview, self.wary = most_views, overview, wary
        self.clip = build_clip(config)
        layers = getattr(self.clip.visual, "PIXEL_LAYERS", ("conv1",))
        self.PIXEL_LAYERS = tuple(f"clip.visual.{name}" for name in layers)  # layers that read or write pixels
        self._prompts: tuple[Tensor, Tensor] | None = None
        self._user_prompts: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()
        self._part_scores: OrderedDict[str, list[dict[str, float]]] = OrderedDict()

    @property
    def device(self) -> torch.device:
        return next(self.clip.parameters()).device

    def prompts(self) -> tuple[Tensor, Tensor]:
        """Returns states (K, L, D) and unit features (K, E) of the class prompts; computed once."""
        if self._prompts is None:
            with torch.no_grad():
                states, pooled = self._text([prompt_of(name) for name in self.names], masked=True)
                self._prompts = states.float(), F.normalize(pooled.float(), dim=-1)
        return self._prompts

    def forget_prompts(self) -> None:
        """Drop all kept text states; call it after the weights of the text encoder change."""
        self._prompts = None
        self._user_prompts.clear()
        self._part_scores.clear()

    def user_states(self, prompts: Sequence[str]) -> Tensor:
        """Returns token states (N, L, D) of user prompts ("" is the null prompt), padding not masked, as published."""
        if len(prompts) == 1:
            return self._user_prompt(prompts[0])[0]
        return self._text(prompts, masked=False)[0]

    def prompt_probabilities(self, prompt: str) -> dict[str, float]:
        """Returns a probability for each name: how much a user prompt resembles its class prompt."""
        _, pooled = self._user_prompt(prompt)
        return self._named(self._softmax(F.normalize(pooled, dim=-1))[0])

    def prompt_scores(self, prompts: Sequence[str]) -> list[dict[str, float]]:
        """Returns `prompt_probabilities` of a prompt and of its parts; the scores of the last few are kept."""
        first, *parts = prompts
        scores = self._part_scores.pop(first, None)
        if scores is None:
            scores = [self.prompt_probabilities(first)]
            if parts:
                _, pooled = self._text(parts, masked=False)
                scores += [self._named(row) for row in self._softmax(F.normalize(pooled, dim=-1))]
        self._part_scores[first] = scores
        if len(self._part_scores) > PROMPTS_KEPT:
            self._part_scores.popitem(last=False)
        return scores

    def _user_prompt(self, prompt: str) -> tuple[Tensor, Tensor]:
        """Returns states (1, L, D) and features (1, E) of a user prompt.

        The last few are kept: a request needs both, its tiles and the null prompt repeat them, and the text encoder is
        frozen.
        """
        found = self._user_prompts.pop(prompt, None)
        if found is None:
            with torch.inference_mode(False), torch.no_grad():  # kept tensors must work outside inference mode, too
                found = self._text([prompt], masked=False)
        self._user_prompts[prompt] = found
        if len(self._user_prompts) > PROMPTS_KEPT:
            self._user_prompts.popitem(last=False)
        return found

    def assess(self, images: Sequence[Tensor], strict: bool = False) -> list[dict[str, float]]:
        """Returns a probability for each name and image.

        The strict view is the published center crop.  The default view averages native-scale crops of the whole image,
        because raindrops or local blur need not be in the middle, and the shrunk whole image, because a crop of fog or
        heavy blur may show nothing.
        """
        return [
            self._named(weights @ logits.softmax(dim=-1)) for logits, weights in self.view_logits(images, strict=strict)
        ]

    def view_logits(self, images: Sequence[Tensor], strict: bool = False) -> list[tuple[Tensor, Tensor]]:
        """Returns for each image the logits (V, K) of its views, and the shares (V,) of the views in the answer."""
        crops, counts, weights = [], [], []
        for image in images:
            views, weight = self._views(image, strict)
            crops += views
            counts.append(len(views))
            weights += weight
        logits = self.logits(self.image_features(torch.stack([to_device(crop, self.device) for crop in crops])))
        if self.wary and not strict:
            logits = logits - self.wary * logits.new_tensor([float(name == CLEAN) for name in self.names])
        shares = logits.new_tensor(weights)
        return list(zip(torch.split(logits, counts), torch.split(shares, counts), strict=True))

    def _views(self, image: Tensor, strict: bool) -> tuple[list[Tensor], list[float]]:
        """Returns crops (3, S, S) in [0, 1] and their shares in the answer, which sum to 1."""
        side = self.config.vision.image_size
        if strict:
            return [center_crop(image, side)], [1.0]
        views, weights = weighted_views(image, side, self.most_views, self.overview)
        return [(view.clamp(-1, 1) + 1) / 2 for view in views], weights

    def condition(self, probabilities: dict[str, float]) -> Tensor:
        """Returns e_auto (L, D) for the given names only."""
        states, _ = self.prompts()
        chosen = [self.names.index(name) for name in probabilities]
        return mixture(states.new_tensor(list(probabilities.values())), states[chosen])

    def image_features(self, crops: Tensor) -> Tensor:
        """Returns unit features of crops in [0, 1]: (V, 3, S, S) -> (V, E)."""
        clip: Any = self.clip  # open_clip is untyped
        features: Tensor = clip.encode_image(self._normalized(crops))
        return F.normalize(features.float(), dim=-1)

    def evidence(self, crops: Tensor) -> Tensor:
        """Returns the evidence that an `EvidenceEncoder` finds in crops in [0, 1]: (V, 3, S, S) -> (V, F)."""
        clip: Any = self.clip
        return clip.visual.evidence(self._normalized(crops))  # type: ignore[no-any-return]

    def _normalized(self, crops: Tensor) -> Tensor:
        mean, std = (crops.new_tensor(value)[:, None, None] for value in (self.config.mean, self.config.std))
        return (crops - mean) / std

    def logits(self, features: Tensor) -> Tensor:
        """Returns exp(logit_scale) * cosine with each class prompt: (V, E) -> (V, K)."""
        clip: Any = self.clip
        scale: Tensor = clip.logit_scale.exp()
        return scale * features @ self.prompts()[1].T

    def _softmax(self, features: Tensor) -> Tensor:
        return self.logits(features).softmax(dim=-1)

    def _named(self, probabilities: Tensor) -> dict[str, float]:
        return dict(zip(self.names, probabilities.tolist(), strict=True))

    def _text(self, prompts: Sequence[str], masked: bool) -> tuple[Tensor, Tensor]:
        tokens = tokenize(prompts, self.config.text.context_length).to(self.device)
        return text_states(self.clip, tokens, masked)
