"""A TLS server on this machine that answers as a test says, and a network where a public address leads to it."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import httpcore
import trustme

PUBLIC = "93.184.216.34"
"""A public address, which `LoopbackNetwork` takes to this machine."""

Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, given its head."""


class LoopbackNetwork(httpcore.AsyncNetworkBackend):
    """Connects to 127.0.0.1 instead, and records the addresses asked for; those in `refusing` accept nothing."""

    def __init__(self, refusing=()):
        self.dialed, self.refusing = [], refusing

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.dialed.append(host)
        if host in self.refusing:
            raise httpcore.ConnectError("refused")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", port, timeout)


class TlsServer:
    """A server; `heads` are the heads of the requests, `names` the server names (SNI) that clients asked for."""

    def __init__(self, script: Script, *, name="receiver.test", authority: trustme.CA | None = None):
        self._script, self._name = script, name
        self.authority = authority or trustme.CA()
        self.heads, self.bodies, self.names = [], [], []

    @property
    def trusting(self):
        """Returns a client's context that trusts this server's authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    @asynccontextmanager
    async def running(self):
        """Listen on a free port, as `port`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(self._name).configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._tasks = set()
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            self.bodies.append(await reader.readexactly(int(length[0].split(b":")[1])) if length else b"")
            self.heads.append(head)
            await self._script(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()


def answering(status=200, body=b"ok", headers=()):
    """Return a script that sends one answer."""

    async def script(_head, writer):
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return script


def resolving(*answers):
    """Return a resolver that gives these lists of addresses in turn, the last for ever; `calls` counts."""

    async def resolve(_host, _port):
        resolve.calls += 1
        answer = answers[min(resolve.calls, len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    resolve.calls = 0
    return resolve
