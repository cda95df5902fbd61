"""Examples that are dear to make, used again."""

from collections.abc import Callable

import torch
from torch import Tensor

Vary = Callable[[Tensor, torch.Generator], Tensor]


def mirrored(example: Tensor, generator: torch.Generator) -> Tensor:
    """Left to right, top to bottom, both or neither; never turned: rain does not fall sideways."""
    drawn = int(torch.randint(4, (), generator=generator))
    return example.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if drawn & bit])


class Replay:
    """The last `capacity` examples in half precision, drawn with replacement and varied anew each time."""

    def __init__(self, capacity: int, vary: Vary | None = None) -> None:
        self.capacity, self.vary = capacity, vary
        self._kept: list[Tensor] = []
        self._at = 0

    def join(self, fresh: Tensor, times: int, generator: torch.Generator) -> Tensor:
        """(B, ...) -> (B (1 + times), ...): the fresh ones first, then earlier ones."""
        earlier = [self._draw(generator) for _ in range(times * len(fresh))] if self._kept else []
        for example in fresh.detach().to(torch.float16):
            if len(self._kept) < self.capacity:
                self._kept.append(example)
            else:
                self._kept[self._at % self.capacity] = example
            self._at += 1
        return torch.cat([fresh.float(), torch.stack(earlier).to(fresh.device)]) if earlier else fresh

    def _draw(self, generator: torch.Generator) -> Tensor:
        chosen = self._kept[int(torch.randint(len(self._kept), (), generator=generator))].float()
        return self.vary(chosen, generator) if self.vary else chosen
