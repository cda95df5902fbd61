"""Resolves the host of a caller's URL once, and returns only addresses that are all allowed."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from service.outgoing.addresses import Address, is_public, is_public_or_inside, read_address
from service.outgoing.host_rules import Destination
from service.outgoing.refusals import UrlNotAllowed

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to addresses as text.  Raises OSError where the name has none."""
MAX_LOOKUPS = 32
"""At a time.  A name server that hangs holds a thread for 10 s or longer, so lookups have threads of their own."""


class SystemResolver:
    """Resolves as the operating system does: /etc/hosts, then DNS."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="lookup")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of the host.

        Raises:
            OSError: it has none.
        """
        answers = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [str(sockaddr[0]) for *_, sockaddr in answers]

    def close(self) -> None:
        """Let the threads end without waiting for a name server."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def allowed_addresses(destination: Destination, resolve: Resolver) -> list[Address]:
    """Return the addresses to dial, in the resolver's order.

    Raises:
        UrlNotAllowed: the host has none, or one that is not allowed.  A single private address among public ones
            refuses them all: which one is dialed would be chance.
    """
    literal = read_address(destination.host)
    try:
        texts = [destination.host] if literal else await resolve(destination.host, destination.port)
    except (OSError, UnicodeError):
        texts = []
    addresses = [read_address(text) for text in dict.fromkeys(texts)]
    allowed = is_public_or_inside if destination.inside else is_public
    checked = [address for address in addresses if address is not None and allowed(address)]
    if not checked or len(checked) < len(addresses):
        raise UrlNotAllowed(f"the host {destination.host!r} does not exist, or not on the public internet")
    return checked
