"""Takes the port of the HTTP service before anything else is started, so that a taken port ends the command at once."""

import contextlib
import errno
import socket
import threading
from collections.abc import Sequence
from typing import Any

RESOLVE_S = 5.0
BACKLOG = 2048
Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class ListenError(Exception):
    """The address cannot be listened on; the message says why, and what to do."""


def bare_host(host: str) -> str:
    """Returns a host without the brackets that an IPv6 address has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def listen(host: str, port: int, setting: str = "--port") -> list[socket.socket]:
    """Returns a listening socket for each address of a host.  Port 0 takes a free port, the same for all of them.

    Args:
        setting: what the user changes to get another port.

    Raises:
        ListenError: the host does not resolve, or none of its addresses can be used, or one is in use.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            try:
                sockets.append(_bind(family, (address[0], port, *address[2:])))
                port = sockets[0].getsockname()[1]
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error  # localhost has an IPv6 address where the kernel has no IPv6
        if not sockets:
            raise absent or OSError(errno.EADDRNOTAVAIL, "no address")
    except OSError as error:
        close(sockets)
        raise ListenError(f"cannot listen on {shown_address(host, port)}: {_cause(error, setting)}") from error
    return sockets


def check_metrics_port(host: str, port: int | None, setting: str = "--metrics-port") -> None:
    """Check the port of the metrics, which the part that serves them takes later; None: there are none.

    Raises:
        ListenError: as in `listen`.
    """
    if port is not None:
        close(listen(host, port, setting))


def close(sockets: Sequence[socket.socket]) -> None:
    """Close sockets."""
    for entry in sockets:
        with contextlib.suppress(OSError):
            entry.close()


def shown_address(host: str, port: int) -> str:
    """Returns HOST:PORT as in a URL: an IPv6 address has brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_host(host: str) -> str:
    """Returns a host at which a service that listens on `host` answers on this machine."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def url_of(host: str, port: int) -> str:
    """Returns a URL at which a service that listens on `host` answers on this machine."""
    return f"http://{shown_address(reachable_host(host), port)}"


def _bind(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    entry = socket.socket(family, socket.SOCK_STREAM)
    try:
        entry.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            entry.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 is another address
        entry.bind(address)
        entry.listen(BACKLOG)  # only a listening socket keeps others from the port
        entry.setblocking(False)
    except BaseException:
        entry.close()
        raise
    return entry


def _addresses(host: str, port: int) -> list[Address]:
    """Resolve a host; a name server that does not answer is not waited for."""
    found: list[Address] = []
    failures: list[OSError] = []

    def resolve() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                if (family, address) not in found:
                    found.append((family, address))
        except OSError as error:
            failures.append(error)
        except UnicodeError:  # a label that no DNS name can have
            failures.append(socket.gaierror(socket.EAI_NONAME, "not a host name"))

    thread = threading.Thread(target=resolve, daemon=True)  # getaddrinfo cannot be interrupted
    thread.start()
    thread.join(RESOLVE_S)
    if failures:
        raise failures[0]
    if thread.is_alive():
        raise socket.gaierror(socket.EAI_AGAIN, "the name server does not answer")
    return list(found)


def _cause(error: OSError, setting: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host does not resolve ({error.strerror}). Give --host an address of this machine."
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use by another program. Give another {setting}, or 0 for a free port."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not use the port. Give a {setting} of 1024 or more."
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address. Give --host 127.0.0.1, or another address of this machine."
    return f"{error.strerror or error}. Give another --host or {setting}."
