"""Ends TLS before a plain server, as stunnel does.  A connection without TLS is passed on as it is.

So a Sentinel, which speaks without TLS here, watches the very address that clients reach with TLS.
"""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import trustme

HANDSHAKE = b"\x16"


class Authority:
    """A certificate authority whose file is `path`, and a server's context with a certificate for 127.0.0.1."""

    def __init__(self, folder: Path, name: str = "127.0.0.1") -> None:
        authority = trustme.CA()
        self.path = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.path)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self.context)


class TlsFront:
    """Listens on `port` until `close`; `encrypted` counts the connections with TLS."""

    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        self._context, self._behind, self.encrypted = context, behind, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if client.recv(1, socket.MSG_PEEK) == HANDSHAKE:
                client = self._context.wrap_socket(client, server_side=True)
                self.encrypted += 1
            server = socket.create_connection(("127.0.0.1", self._behind))
        except OSError:
            client.close()
            return
        self._open += [client, server]
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()
        client.close()
        server.close()

    def close(self) -> None:
        self._listener.close()
        for each in self._open:
            _shut(each)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for each in (source, target):
        _shut(each)


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
