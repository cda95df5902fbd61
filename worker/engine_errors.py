"""Tells apart the errors that the engine meets: out of memory, of the device, or of one image."""

import re

import torch

from models.errors import ControlsError, PromptNotUnderstood
from worker.messages import Failed

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|CUDA (?:driver )?error: out of memory|\[CUDA\]: out of memory|_ALLOC_FAILED"
)
"""Memory that is short outside of torch's allocator, as for a library's workspace, is told in these words."""
_DEVICE = re.compile(
    r"CUDA (?:driver )?error|CUBLAS|cuDNN error|CUDNN_STATUS|CUSOLVER_|CUFFT_|HIP error|Triton Error \[CUDA\]|"
    r"device-side assert|illegal memory access|unspecified launch failure"
)


class DeviceBroken(Exception):
    """The device may give wrong results from now on; the process must end."""


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or _OUT_OF_MEMORY.search(str(error)) is not None


def is_device_error(error: Exception) -> bool:
    """CUDA's own errors leave a context that answers with errors or with garbage (text-generation-inference#965)."""
    accelerator_error = getattr(torch, "AcceleratorError", None)  # newer versions of torch have it
    return _DEVICE.search(str(error)) is not None or (
        accelerator_error is not None and isinstance(error, accelerator_error)
    )


def to_failed(task_id: str, error: Exception) -> Failed:
    """Returns the answer for an image that an error ended."""
    if isinstance(error, PromptNotUnderstood):
        hint = "name what to repair, or send best_effort=true: then the most similar repair is done"
        return Failed(id=task_id, code="prompt-not-understood", detail=str(error), hint=hint)
    if isinstance(error, ControlsError):
        return Failed(id=task_id, code="bad-controls", detail=str(error))
    if is_out_of_memory(error):
        hint = "scale the image down, or use a worker with more memory"
        detail = "not even one small tile fitted into memory"
        return Failed(id=task_id, code="out-of-memory", detail=detail, hint=hint)
    return Failed(id=task_id, code="engine-error", detail=f"{type(error).__name__}: {error}", hint="report it")
