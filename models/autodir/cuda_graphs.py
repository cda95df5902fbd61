"""CUDA graphs of a network, one for each shape that comes often.

At batch 1 a diffusion U-Net is some hundred small kernels, and Python takes longer to start them than the device to run
them; a graph starts all of them at once.  A graph holds for one set of input shapes.  If capturing fails, or if the
graph's answer differs from the plain network's, that shape is left to the plain network for good, with a log line.
Where only memory was short, it is tried again when the shape has come as often again.

Shapes:  any; the functions take and return tensors on one device.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog
import torch
from torch import Tensor

log = structlog.get_logger()

Function = Callable[..., Tensor]
Make = Callable[[Function, Sequence[Tensor]], Function]
"""(plain function, inputs of one shape) -> a faster version of the function for inputs of that shape."""
Signature = tuple[tuple[tuple[int, ...], torch.dtype], ...]

GRAPHS_KEPT = 96
"""Graphs share their intermediate memory, but not their inputs and outputs; the least recently used is dropped."""
PLAIN_CALLS = 2
"""A graph is captured when a shape comes for the third time; a warm-up captures it at once."""
NOT_WORTH_IT = "the shape is not one of the frames"
TOLERANCE = 0.02
"""Largest difference, of the plain answer's largest value: half precision fused in another way stays below 0.01."""


@dataclass(frozen=True, kw_only=True)
class WarmedShape:
    """The result of warming up one set of input shapes.  `refused` says why the plain network serves it."""

    shapes: tuple[tuple[int, ...], ...]
    seconds: float
    refused: str | None = None


class FastPerShape:
    """Calls `function`, or the faster version that `make` built for inputs of these shapes and types.

    `worth` says whether a faster version for inputs of this shape may be built at all.
    """

    def __init__(
        self, function: Function, make: Make, *, kept: int = GRAPHS_KEPT, plain_calls: int = PLAIN_CALLS,
        worth: Callable[[Signature], bool] = lambda signature: True,
    ) -> None:  # fmt: skip
        self._function, self._make, self._kept, self._plain_calls = function, make, kept, plain_calls
        self._worth = worth
        self._made: OrderedDict[Signature, Function] = OrderedDict()
        self._calls: Counter[Signature] = Counter()
        self._refused: dict[Signature, str] = {}

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        signature = signature_of(inputs)
        if signature in self._made:
            self._made.move_to_end(signature)
            return self._made[signature](*inputs)
        plain = self._function(*inputs)
        if signature not in self._refused and self._worth(signature):
            self._calls[signature] += 1
            if self._calls[signature] > self._plain_calls:
                self._add(signature, inputs, plain)
        return plain

    @torch.inference_mode()
    def warm_up(self, *inputs: Tensor) -> WarmedShape:
        """Build the faster version for these shapes now; the values need only be typical of the network's inputs."""
        signature, start_s = signature_of(inputs), time.monotonic()
        refused = self._refused.get(signature)
        if not self._worth(signature):
            refused = self._refused[signature] = NOT_WORTH_IT
        elif signature not in self._made and refused is None:
            refused = self._add(signature, inputs, self._function(*inputs))
        shapes = tuple(shape for shape, _ in signature)
        return WarmedShape(shapes=shapes, seconds=time.monotonic() - start_s, refused=refused)

    def _add(self, signature: Signature, inputs: Sequence[Tensor], plain: Tensor) -> str | None:
        """Build the faster version.  Returns why there is none, None if there is one."""
        start_s, memory_was_short = time.monotonic(), False
        try:
            made = self._make(self._function, inputs)
            refused = _difference(made(*inputs), plain)
        except Exception as error:  # capturing fails in many ways, and the plain network can still serve the request
            refused = f"{type(error).__name__}: {error}".splitlines()[0]
            memory_was_short = any(isinstance(e, torch.OutOfMemoryError) for e in (error, error.__context__))
        shapes = [list(shape) for shape, _ in signature]
        if refused is not None and memory_was_short:
            self._calls[signature] = 0
            log.warning("shape.postponed", shapes=shapes, why=refused)
            return refused
        if refused is not None:
            self._refused[signature] = refused
            log.warning("shape.refused", shapes=shapes, why=refused)
            return refused
        self._made[signature] = made
        if len(self._made) > self._kept:
            dropped, _ = self._made.popitem(last=False)
            del self._calls[dropped]  # it has to come often again: capturing in turns would cost a second a step
        log.info("shape.made", shapes=shapes, seconds=round(time.monotonic() - start_s, 2))
        return None


def signature_of(inputs: Sequence[Tensor]) -> Signature:
    return tuple((tuple(value.shape), value.dtype) for value in inputs)


def _difference(fast: Tensor, plain: Tensor) -> str | None:
    """Says how the answers differ; None where they agree."""
    if fast.shape != plain.shape:
        return f"got shape {list(fast.shape)}, expected {list(plain.shape)}"
    difference = float((fast.float() - plain.float()).abs().max())
    allowed = TOLERANCE * float(plain.float().abs().max())
    if difference <= allowed:  # false for NaN
        return None
    return f"got a difference of {difference:.3g}, expected at most {allowed:.3g}"


class Graph:
    """One captured call; inputs are copied in, and the output is copied out because the next replay overwrites it.

    `pool` is memory that graphs share: they never run at the same time.
    """

    def __init__(self, function: Function, inputs: Sequence[Tensor], pool: object) -> None:
        self._inputs = [value.clone() for value in inputs]
        current = torch.cuda.current_stream()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):  # cuBLAS and cuDNN set themselves up on first use, which no capture allows
            for _ in range(2):
                function(*self._inputs)
        current.wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        captured = torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local")  # type: ignore[arg-type]
        with _cleaned_up_on_failure(current, pool), captured:
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for held, given in zip(self._inputs, inputs, strict=True):
            held.copy_(given)
        self._graph.replay()
        return self._output.clone()


@contextmanager
def _cleaned_up_on_failure(current: torch.cuda.Stream, pool: object) -> Iterator[None]:
    """Undo what torch leaves behind when a capture cannot be ended.

    Ending an invalid capture raises before torch leaves the capture's stream and closes its memory pool.  Without this,
    all later work would run on that stream, unordered with what is queued, and while a pool is open torch frees no
    tensor that a second stream has used: each uploaded picture would stay for good.
    """
    try:
        yield
    except Exception:
        torch.cuda.set_stream(current)
        end = getattr(torch._C, "_cuda_endAllocateToPool", None)
        if end is not None:
            with suppress(RuntimeError):  # the pool was closed: the capture failed in another way
                end(torch.cuda.current_device(), pool)
        raise


def graph_maker() -> Make:
    """Returns a maker of CUDA graphs: the same kernels, so the same picture; capturing takes about a second a shape."""
    pool = torch.cuda.graph_pool_handle()

    def make(function: Function, inputs: Sequence[Tensor]) -> Function:
        nonlocal pool
        try:
            return Graph(function, inputs, pool)
        except Exception:
            # torch gives up a pool with its last graph, and a handle that it has given up fails an assertion
            pool = torch.cuda.graph_pool_handle()
            raise

    return make
