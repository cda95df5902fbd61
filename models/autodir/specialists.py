"""Specialists: networks that each repair a few degradations in one step, in place of diffusion and correction.

They are not part of the paper, and the strict loop ignores them.  A bundle without specialists is the published system.

Shapes:  B tracks, H W pixels.  Images are RGB float32 (B, 3, H, W) in [-1, 1].
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.dat.config import TILE_PX, DATConfig
from models.maxim.config import MAXIMConfig
from models.maxim.memory import tile_side_px
from models.networks.drunet import DRUNet, DRUNetConfig
from models.networks.turns import is_sideways, turned
from processes.memory_limits import memory

KEPT = 2
"""Networks that are loaded on first use and stay; most photos have one kind of damage, and a batch of photos alike."""

Load = Callable[[], nn.Module]


@dataclass(frozen=True, kw_only=True)
class SpecialistConfig:
    """The degradations that a specialist repairs, and its network: MAXIM where `maxim` is set, else a DRUNet.

    With `dat` it is an enlarger instead: it enlarges photos by the scale of its network (models/autodir/enlarging.py).

    `words` make it a specialist on request: it repairs its degradations only if the prompt has one of these words, and
    then in place of the one without words.  `mirrored` averages the results of the image and of its mirror image: a
    self-ensemble of two, at twice the work.  (Lim et al. 2017, arXiv:1707.02921, use eight, but no network has learned
    rain that falls sideways.)  `turned` is for damage with a direction, as rain in a photo that is stored sideways: the
    network also sees the image turned by a right angle, and where it changes clearly more there, that repair is taken.
    """

    names: tuple[str, ...]
    network: DRUNetConfig = field(default_factory=DRUNetConfig)
    maxim: MAXIMConfig | None = None
    dat: DATConfig | None = None
    words: tuple[str, ...] = ()
    mirrored: bool = False
    turned: bool = False

    @property
    def stride(self) -> int:
        return 1 if self.dat is not None else (self.maxim or self.network).stride

    @property
    def scale(self) -> int:
        """How many times it enlarges each side."""
        return 1 if self.dat is None else self.dat.scale


class Specialists:
    """The specialists of a bundle, on a device; keys are the bundle's names for them.

    `networks` are resident.  `on_demand` holds functions that load a network on its first use; the last `kept` stay.
    """

    def __init__(
        self, configs: Mapping[str, SpecialistConfig], networks: Mapping[str, DRUNet],
        on_demand: Mapping[str, Load] | None = None, kept: int = KEPT,
    ) -> None:  # fmt: skip
        self.networks = dict(networks)
        self._configs, self._on_demand, self._kept = dict(configs), dict(on_demand or {}), kept
        self._loaded: dict[str, nn.Module] = {}  # the least recently used first

    def key_of(self, degradation: str, prompt: str | None = None, scale: int = 1) -> str | None:
        """Returns the key of the specialist that repairs it; None if diffusion and correction do.

        With a `scale` above 1 an enlarger by it comes first, for a photo in its own size.
        """
        asked = {key for key, config in self._configs.items() if _words_in(prompt, config.words)}
        named = {key: config for key, config in self._configs.items() if degradation in config.names}
        enlargers = [key for key, config in named.items() if config.scale == scale > 1]
        able = enlargers or [key for key, config in named.items() if config.scale == 1]
        found = [key for key in able if key in asked] or [key for key in able if not self._configs[key].words]
        return found[0] if found else None

    def words_used(self, key: str | None, prompt: str) -> tuple[str, ...]:
        """Returns the words of a prompt that chose this specialist, as they were written."""
        return _words_in(prompt, self._configs[key].words) if key is not None else ()

    def scale(self, key: str) -> int:
        """Returns how many times a specialist enlarges each side; 1 for all but enlargers."""
        return self._configs[key].scale

    def stride(self, key: str) -> int:
        """Returns the number whose multiples the sides of tiles are padded to."""
        return self._configs[key].stride

    def tile_px(self, key: str, pixels: int, device: torch.device) -> int | None:
        """Returns the side of the square with the most pixels of a tile that memory allows; None: `pixels` fit.

        Only MAXIM's networks on a CPU need so much; on CUDA the engine learns it from errors (worker/engine.py).
        Enlargers have a largest tile of their own.
        """
        if self._configs[key].dat is not None:
            return TILE_PX if pixels > TILE_PX**2 else None
        if self._configs[key].maxim is None or device.type != "cpu":
            return None
        return tile_side_px(pixels, memory().available_bytes)

    def restore(self, key: str, degraded: Tensor) -> Tensor:
        """Repair a batch: (B, 3, H, W) -> (B, 3, s H, s W) in [-1, 1], where s is the specialist's scale."""
        network = self._network(key)
        if self._configs[key].dat is not None and degraded.device.type == "cpu":
            # One tile takes half a gigabyte, and a batch is no faster there
            return torch.cat([network(image[None]) for image in degraded]).clamp_(-1, 1)
        if not self._configs[key].turned:
            return self._repair(key, degraded, network(degraded))
        upright: Tensor = network(degraded)
        sideways = turned(network(turned(degraded, 1)), -1)
        turn = is_sideways(degraded, upright, sideways)
        if not bool(turn.all()):
            upright[~turn] = self._repair(key, degraded[~turn], upright[~turn])
        if bool(turn.any()):
            upright[turn] = turned(self._repair(key, turned(degraded[turn], 1), turned(sideways[turn], 1)), -1)
        return upright

    def _repair(self, key: str, degraded: Tensor, once: Tensor) -> Tensor:
        """Returns the repair of a batch, whose first answer of the network is `once`; both (B, 3, H, W)."""
        if self._configs[key].mirrored:  # a second call instead of a larger batch, to save memory
            once = torch.lerp(once, self._network(key)(degraded.flip(-1)).flip(-1), 0.5)
        return once.clamp(-1, 1)

    def load_all(self) -> None:
        """Load what is loaded on demand, up to the number that stays."""
        for key in list(self._on_demand)[: self._kept]:
            self._network(key)

    def _network(self, key: str) -> nn.Module:
        if key in self.networks:
            return self.networks[key]
        network = self._loaded.pop(key, None)
        if network is None:
            while len(self._loaded) >= self._kept:  # before the next is loaded: both together are what memory must hold
                del self._loaded[next(iter(self._loaded))]
            network = self._on_demand[key]()
        self._loaded[key] = network
        return network


def _words_in(prompt: str | None, words: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the words of a prompt that are among `words`, whatever their case and punctuation."""
    return tuple(word for word in (prompt or "").split() if re.sub(r"\W", "", word).lower() in words)
