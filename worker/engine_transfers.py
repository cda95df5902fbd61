"""Pictures between host memory and the device: uploads when an image is admitted, and answers that wait for downloads.

On CUDA both directions have streams of their own, so that an upload runs beside the step of another image and a result
leaves while the next step runs.  On a CPU the same calls copy nothing and are done at once.

Shapes:  H W pixels.  Images are RGB (3, H, W), see models.pixels.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.pixels import as_image, is_finite, quantized
from worker.engine_errors import DeviceBroken, is_device_error, is_out_of_memory
from worker.messages import Answer, Pixels

PICTURE_BYTES_PER_PX = 64
"""The most that a picture holds on the device: input, canvas, result, color matching and integers, in float32."""


class Download(Protocol):
    """A picture as integers on its way to host memory."""

    def arrived(self) -> bool:
        """Returns whether the copy is done, without waiting."""
        ...

    def wait(self) -> None:
        """Wait until the copy is done."""
        ...

    def pixels(self) -> Pixels | None:
        """Returns (H, W, 3); None if the picture contained NaN or infinite values.  Only after the copy is done."""
        ...


@dataclass(frozen=True)
class TensorDownload:
    """The integers (H, W, 3) and a boolean scalar in host memory, and the event after which they are there."""

    levels: Tensor
    finite: Tensor
    event: torch.cuda.Event | None = None
    kept: tuple[Tensor, ...] = ()  # the sources on the device, until the copy is done

    def arrived(self) -> bool:
        return self.event is None or bool(self.event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        if self.event is not None:
            self.event.synchronize()

    def pixels(self) -> Pixels | None:
        return self.levels.numpy() if bool(self.finite) else None


class Transfers:
    """Copies between host memory and one device.  Pictures beyond `budget_bytes` stay in host memory."""

    def __init__(self, device: torch.device, budget_bytes: int = 0) -> None:
        self._device, self._budget_bytes = device, budget_bytes
        self._streams: tuple[torch.cuda.Stream, torch.cuda.Stream] | None = None
        if device.type == "cuda":
            self._streams = torch.cuda.Stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def upload(self, pixels: Pixels, held_px: int) -> Tensor:
        """Returns the image, on its way to the device or in host memory; call `join` before it is used.

        Args:
            held_px: the pixels of all pictures that are on the device.

        Raises:
            DeviceBroken: the device has failed, which need not have to do with this picture: errors arrive late.
        """
        image = as_image(pixels)
        needed_bytes = (held_px + image[0].numel()) * PICTURE_BYTES_PER_PX
        if self._streams is None or needed_bytes > self._budget_bytes:
            return image
        try:
            with torch.cuda.stream(self._streams[0]):
                # torch keeps the pinned block until the copy is done
                placed = image.permute(1, 2, 0).pin_memory().to(self._device, non_blocking=True)
        except RuntimeError as error:
            if not is_out_of_memory(error) and is_device_error(error):
                raise DeviceBroken(str(error)) from error
            return image  # there was no room, on the device or for a pinned copy
        placed.record_stream(torch.cuda.current_stream(self._device))
        return placed.permute(2, 0, 1)

    def join(self) -> None:
        """Let the device's next work wait for all uploads; the host does not wait."""
        if self._streams is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._streams[0])

    def download(self, image: Tensor, dtype: type[np.uint8] | type[np.uint16]) -> Download:
        """Quantize an image where it lies and start its copy to host memory."""
        levels, finite = quantized(image, dtype), is_finite(image)
        if self._streams is None or not levels.is_cuda:
            return TensorDownload(levels, finite)
        stream, event = self._streams[1], torch.cuda.Event()  # type: ignore[no-untyped-call]
        hosts = [torch.empty_like(part, device="cpu", pin_memory=True) for part in (levels, finite)]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for host, part in zip(hosts, (levels, finite), strict=True):
                host.copy_(part, non_blocking=True)
            event.record(stream)
        return TensorDownload(hosts[0], hosts[1], event, (levels, finite))


class Outbox:
    """Sends the answers that carry pictures, each when its picture has arrived, in the order of posting."""

    def __init__(self, send: Callable[[Answer], None]) -> None:
        self._send = send
        self._waiting: deque[tuple[str, Download, Callable[[Pixels | None], Answer]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, task_id: str) -> bool:
        return any(posted == task_id for posted, _, _ in self._waiting)

    def post(self, task_id: str, download: Download, answer: Callable[[Pixels | None], Answer]) -> None:
        """Send `answer` of the picture when it has arrived, now if it has."""
        self._waiting.append((task_id, download, answer))
        self.flush()

    def flush(self, *, wait: bool = False) -> None:
        """Send what has arrived; with `wait`, all."""
        while self._waiting and (wait or self._waiting[0][1].arrived()):
            _, download, answer = self._waiting.popleft()
            download.wait()
            self._send(answer(download.pixels()))

    def drop(self, task_id: str) -> None:
        """Forget the answers of an image."""
        self._waiting = deque(each for each in self._waiting if each[0] != task_id)
