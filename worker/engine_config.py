"""What an engine child is told by its supervisor."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """The settings of an engine child.

    Attributes:
        bundles: folders by the names in jobs.
        max_batch: the most images of a step.  None: 8 on CUDA, and 1 on a CPU, where a batch of usual photos gains next
            to nothing (docs/decisions/0009) and its rounding would depend on its size.
        budget_mp: the most megapixels of a step; None: measured.
        device_memory_gib: the most memory of a CUDA device that the engine takes; None: all that is free.
    """

    bundles: Mapping[str, Path]
    device: str = "auto"
    threads: int | None = None
    max_batch: int | None = None
    budget_mp: float | None = None
    cuda_graphs: bool = True
    compile: bool = False
    device_memory_gib: float | None = None
