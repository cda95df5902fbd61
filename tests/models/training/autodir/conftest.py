"""What the tests of AutoDIR's stages share: a batch, and denoisers whose answers are known."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.autodir.air import AIR, AIRConfig
from models.training.autodir.air_stage import denoising_target
from models.training.autodir.frozen_air import amplitudes
from models.training.core.run_config import RunConfig
from models.training.data.dataset import Example


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    return RunConfig(images=(), out=tmp_path, device="cpu", loaders=0)


@pytest.fixture(scope="session")
def kept() -> Callable[[int], float]:
    """Computes a_t of the published schedule from its definition."""

    def compute(timestep: int) -> float:
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        return float((1 - betas)[: timestep + 1].prod())

    return compute


@pytest.fixture(scope="session")
def batch() -> Callable[..., Example]:
    """Makes a batch of random pictures: the first half labeled 0, the second half 1."""

    def make(count: int = 4, side: int = 16, target: float | None = None) -> Example:
        pictures = torch.rand(3, count, 3, side, side, generator=torch.Generator().manual_seed(5)) * 2 - 1
        labels = torch.tensor([[1.0, 0.0]] * (count // 2) + [[0.0, 1.0]] * (count - count // 2))
        return {
            "degraded": pictures[0],
            "target": pictures[1] if target is None else torch.full_like(pictures[1], target),
            "clean": pictures[2],
            "labels": labels,
            "label": labels.argmax(dim=1),
        }

    return make


class ZeroAIR(AIR):
    """A denoiser that always answers zero and remembers its inputs."""

    def predict(self, z_t: Tensor, z_image: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        self.inputs = z_t, z_image, timestep, context
        return torch.zeros_like(z_t) * next(self.unet.parameters()).sum()


class OracleAIR(nn.Module):
    """A denoiser that knows the clean picture, hence the exact eps or v of any noised latent."""

    def __init__(self, air: AIR, target: Tensor) -> None:
        super().__init__()
        self.config, self.schedule, self.scale, self.codec = air.config, air.schedule, air.scale, air.codec
        self.clean = self.encode(target) * self.scale

    def encode(self, image: Tensor) -> Tensor:
        return self.codec.encode(image)

    def decode(self, z: Tensor) -> Tensor:
        return self.codec.decode(z / self.scale)

    def predict(self, z_t: Tensor, z_image: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        signal, spread = amplitudes(self.schedule, timestep)
        noise = (z_t - signal * self.clean) / spread
        return denoising_target(self.config.prediction, self.clean, noise, signal, spread)


@pytest.fixture(scope="session")
def zero_air() -> Callable[[AIRConfig], ZeroAIR]:
    return ZeroAIR


@pytest.fixture(scope="session")
def oracle_air() -> Callable[[AIRConfig, Tensor], OracleAIR]:
    return lambda config, target: OracleAIR(AIR(config), target)
