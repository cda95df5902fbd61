"""A replay buffer: reuses training examples that are expensive to make."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.training.data.share import Draws

Augment = Callable[[Tensor, torch.Generator], Tensor]


def random_mirror(example: Tensor, generator: torch.Generator) -> Tensor:
    """Flip horizontally, vertically, both or neither; no rotation, because rain does not fall sideways."""
    drawn = int(torch.randint(4, (), generator=generator))
    return example.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if drawn & bit])


class ReplayBuffer:
    """Holds the last `capacity` examples in half precision; draws with replacement and augments each draw.

    With several processes, each holds the examples of all.
    """

    def __init__(self, capacity: int, augment: Augment | None = None) -> None:
        self.capacity, self.augment = capacity, augment
        self._examples: list[Tensor] = []
        self._added = 0

    def join(self, fresh: Tensor, times: int, draws: Draws) -> Tensor:
        """Store the fresh examples and append earlier ones: (b, ...) -> (b (1 + times), ...), the fresh ones first."""
        whole = draws.share.gather(fresh.detach())
        drawn = [self._draw(draws.generator) for _ in range(times * len(whole))] if self._examples else []
        earlier = drawn[draws.share.rank :: draws.share.count]
        for example in whole.to(torch.float16):
            if len(self._examples) < self.capacity:
                self._examples.append(example)
            else:
                self._examples[self._added % self.capacity] = example
            self._added += 1
        return torch.cat([fresh.float(), torch.stack(earlier).to(fresh.device)]) if earlier else fresh

    def _draw(self, generator: torch.Generator) -> Tensor:
        chosen = self._examples[int(torch.randint(len(self._examples), (), generator=generator))].float()
        return self.augment(chosen, generator) if self.augment else chosen
