"""The part of a batch that one of several processes trains (docs/decisions/0046).

Every process draws the random choices of the whole batch and keeps its own rows, so a batch has the same choices
whatever the number of processes.  A loss that compares the rows of a batch gathers them first.

Shapes:  B rows of the whole batch, b = B / count rows of one process.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


@dataclass(frozen=True)
class Share:
    """Part `rank` of `count` equal parts; the default is the whole batch, of a process that trains alone."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files and validates."""
        return self.rank == 0

    def rows(self, whole: Tensor) -> Tensor:
        """Returns the rows of this process: (B, ...) -> (b, ...)."""
        own = len(whole) // self.count
        return whole[self.rank * own : (self.rank + 1) * own]

    def before(self, limit: int, own: int) -> int:
        """Returns how many of the `own` rows of this process are among the first `limit` rows of the batch."""
        return min(max(limit - self.rank * own, 0), own)

    def gather(self, own: Tensor) -> Tensor:
        """Returns the rows of all processes in order, with gradients: (n, ...) -> (N, ...), n may differ.

        All processes must compute the same loss of the result: the gradient of a row is the sum over them.
        """
        if self.count == 1:
            return own
        gathered: Tensor = _Gather.apply(own, self)  # type: ignore[no-untyped-call]
        return gathered

    def total(self, value: Tensor) -> Tensor:
        """Returns the sum over all processes, with gradients."""
        if self.count == 1:
            return value
        summed: Tensor = _Total.apply(value)  # type: ignore[no-untyped-call]
        return summed

    def sums(self, values: Sequence[float]) -> list[float]:
        """Returns the sum of each number over all processes; waits for them."""
        if self.count == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)  # on the CPU, so a waiting process does not keep a GPU busy
        dist.all_reduce(numbers)
        return [float(number) for number in numbers]


ALONE = Share()
LOST = re.compile("gloo|nccl|connection (reset|closed)", re.IGNORECASE)


def lost_process(error: BaseException, share: Share) -> bool:
    """Returns whether this error of an exchange means that another process has ended."""
    return share.count > 1 and isinstance(error, RuntimeError) and LOST.search(str(error)) is not None


@dataclass(frozen=True)
class Draws:
    """The random choices of a step: `generator` draws those of the whole batch, `share` keeps the own rows.

    The first number of a shape is the number of own rows; a shape () is one choice for the whole batch.
    """

    generator: torch.Generator
    share: Share = ALONE

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Returns numbers in [0, 1)."""
        return self._own(torch.rand(self._whole(shape), generator=self.generator), shape)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Returns standard normal numbers."""
        return self._own(torch.randn(self._whole(shape), generator=self.generator), shape)

    def integers(self, low: int, high: int, count: int) -> Tensor:
        """Returns (count,) integers from low to high - 1."""
        return self.share.rows(torch.randint(low, high, (count * self.share.count,), generator=self.generator))

    def _whole(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0] * self.share.count, *shape[1:]) if shape else ()

    def _own(self, drawn: Tensor, shape: Sequence[int]) -> Tensor:
        return self.share.rows(drawn) if shape else drawn


class _Rows(FunctionCtx):
    """Which rows of the gathered ones are our own."""

    start: int
    end: int


class _Gather(torch.autograd.Function):
    """All rows of all processes; the gradient of the own rows is summed over the processes."""

    @staticmethod
    def forward(ctx: _Rows, own: Tensor, share: Share) -> Tensor:
        counts = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(share.count)]
        dist.all_gather(counts, torch.full((1,), len(own), dtype=torch.int64, device=own.device))
        rows = [int(count) for count in counts]
        padded = own.new_zeros((max(rows), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in rows]
        dist.all_gather(parts, padded)
        ctx.start, ctx.end = sum(rows[: share.rank]), sum(rows[: share.rank + 1])
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])

    @staticmethod
    def backward(ctx: _Rows, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole[ctx.start : ctx.end], None


class _Total(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor) -> Tensor:
        summed = value.detach().contiguous().clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed
