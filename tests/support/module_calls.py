"""Counts the calls of networks, whichever code makes them: torch tells of every module that runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.modules.module import register_module_forward_pre_hook


@contextmanager
def counted_module_calls() -> Iterator[list[str]]:
    """Yields a list to which every call of a torch module in the block adds the module's class."""
    called: list[str] = []
    hook = register_module_forward_pre_hook(lambda module, _: called.append(type(module).__name__))
    try:
        yield called
    finally:
        hook.remove()
