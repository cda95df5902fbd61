"""A network made quick for the shapes that come often: a CUDA graph for each, over compiled kernels where asked.

At batch 1 a diffusion U-Net is some hundred small kernels, and Python takes longer to start them than the device to run
them; a graph starts all at once.  It holds for one set of shapes, so there is one a shape, made from inputs of it.
Whatever goes wrong while one is made, and whatever answers otherwise than the plain network does, leaves that shape to
the plain network, for good, with a line in the log.

Shapes:  any; the functions take and give tensors on one device.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import torch
from torch import Tensor

log = structlog.get_logger()

Function = Callable[..., Tensor]
Make = Callable[[Function, Sequence[Tensor]], Function]
"""(the plain function, inputs of one shape) -> the same function, quick, for inputs of that shape."""
Signature = tuple[tuple[tuple[int, ...], torch.dtype], ...]

GRAPHS_KEPT = 16
"""Their intermediate memory is shared, their inputs and outputs are not; the longest unused goes first."""
SIGHTINGS = 2
"""A shape that comes for the third time is worth making; a warm-up need not wait for it."""
TOLERANCE = 0.02
"""Largest difference, of the plain answer's largest value: half precision fused another way stays below 0.01."""


@dataclass(frozen=True, kw_only=True)
class Warmed:
    """What became of one shape.  `refused` says why it is left to the plain network."""

    shapes: tuple[tuple[int, ...], ...]
    seconds: float
    refused: str | None = None


class ByShape:
    """Calls `function`, or what `make` made of it for inputs of these shapes and types.

    `sightings` None: nothing is made but by `warm`, where making takes too long for a request to wait.
    """

    def __init__(
        self, function: Function, make: Make, *, kept: int = GRAPHS_KEPT, sightings: int | None = SIGHTINGS
    ) -> None:
        self._function, self._make, self._kept, self._sightings = function, make, kept, sightings
        self._made: OrderedDict[Signature, Function] = OrderedDict()
        self._seen: Counter[Signature] = Counter()
        self._refused: dict[Signature, str] = {}

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Tensor:
        at = signature(inputs)
        if at in self._made:
            self._made.move_to_end(at)
            return self._made[at](*inputs)
        if self._sightings is None or at in self._refused:
            return self._function(*inputs)
        self._seen[at] += 1
        if self._seen[at] <= self._sightings:
            return self._function(*inputs)
        plain = self._function(*inputs)
        self._add(at, inputs, plain)
        return plain

    @torch.inference_mode()
    def warm(self, *inputs: Tensor) -> Warmed:
        """Make these shapes now; the values do not matter, but must be such as the network meets."""
        at, start_s = signature(inputs), time.monotonic()
        if at not in self._made and at not in self._refused:
            self._add(at, inputs, self._function(*inputs))
        shapes = tuple(shape for shape, _ in at)
        return Warmed(shapes=shapes, seconds=time.monotonic() - start_s, refused=self._refused.get(at))

    def _add(self, at: Signature, inputs: Sequence[Tensor], plain: Tensor) -> None:
        start_s = time.monotonic()
        try:
            made = self._make(self._function, inputs)
            refused = _differs(made(*inputs), plain)
        except Exception as error:  # compilers fail in many ways, and none may end a request that the network can serve
            refused = f"{type(error).__name__}: {error}".splitlines()[0]
        shapes = [list(shape) for shape, _ in at]
        if refused is not None:
            self._refused[at] = refused
            log.warning("shape.refused", shapes=shapes, why=refused)
            return
        self._made[at] = made
        if len(self._made) > self._kept:
            self._made.popitem(last=False)
        log.info("shape.made", shapes=shapes, seconds=round(time.monotonic() - start_s, 2))


def signature(inputs: Sequence[Tensor]) -> Signature:
    return tuple((tuple(value.shape), value.dtype) for value in inputs)


def _differs(quick: Tensor, plain: Tensor) -> str | None:
    if quick.shape != plain.shape:
        return f"answers {list(quick.shape)}, expected {list(plain.shape)}"
    apart = float((quick.float() - plain.float()).abs().max())
    allowed = TOLERANCE * float(plain.float().abs().max())
    return (
        None if apart <= allowed else f"answers {apart:.3g} apart, expected at most {allowed:.3g}"
    )  # NaN is apart too


class Graph:
    """One captured call; inputs are copied in, the output is copied out, since the next replay overwrites it.

    `pool` is memory that graphs share: they never run at the same time.
    """

    def __init__(self, function: Function, inputs: Sequence[Tensor], pool: object) -> None:
        self._inputs = [value.clone() for value in inputs]
        here = torch.cuda.current_stream()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(here)
        with torch.cuda.stream(beside):  # cuBLAS and cuDNN set themselves up on first use, which no capture allows
            for _ in range(2):
                function(*self._inputs)
        here.wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):  # type: ignore[arg-type]
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for held, given in zip(self._inputs, inputs, strict=True):
            held.copy_(given)
        self._graph.replay()
        return self._output.clone()


def graphs() -> Make:
    """CUDA graphs over the function as it is: the same kernels, so the same picture; a second or so a shape."""
    pool = torch.cuda.graph_pool_handle()
    return lambda function, inputs: Graph(function, inputs, pool)


def compiling(backend: str | Callable[..., Function] = "inductor") -> Make:
    """torch.compile for each shape; it fuses, so it rounds otherwise; it may take a minute a shape."""

    def make(function: Function, _inputs: Sequence[Tensor]) -> Function:
        compiled: Function = torch.compile(function, dynamic=False, backend=backend)
        return compiled

    return make


def both(first: Make, second: Make) -> Make:
    """What `second` makes of what `first` made."""
    return lambda function, inputs: second(first(function, inputs), inputs)
