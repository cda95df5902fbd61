"""The port is taken before anything is started, and the printed URL reaches it."""

import socket
import subprocess
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from cli.exit_codes import ExitCode
from cli.listening import ListenError, bare_host, close, listen, url_of

HAS_IPV6 = socket.has_ipv6


class Answer(BaseHTTPRequestHandler):
    """Says yes."""

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "localhost", "", "[::1]", "[::]"])
def test_the_url_reaches_whoever_listens(host):
    host = bare_host(host)
    try:
        sockets = listen(host, 0)
    except ListenError:
        pytest.skip("this machine has no such address")
    port = sockets[0].getsockname()[1]
    assert {entry.getsockname()[1] for entry in sockets} == {port}
    threads = []
    for entry in sockets:
        server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
        server.socket.close()
        entry.setblocking(True)
        server.socket = entry
        threads.append(Thread(target=server.handle_request, daemon=True))
        threads[-1].start()
    with urllib.request.urlopen(url_of(host, port), timeout=10) as answer:
        assert answer.status == 204
    close(sockets)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_in_use_is_refused_and_a_free_one_is_kept_from_others(host):
    first = listen(host, 0)
    with pytest.raises(ListenError, match=r"in use.*--port, or 0"):
        listen(host, first[0].getsockname()[1])
    close(first)
    close(listen(host, first_port := listen_port(host)))
    close(listen(host, first_port))  # closing frees it


def listen_port(host):
    sockets = listen(host, 0)
    port = sockets[0].getsockname()[1]
    close(sockets)
    return port


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        ("no-such-host.invalid", "does not resolve"),
        ("http://127.0.0.1", "does not resolve"),
        ("a..b", "does not resolve"),
        ("x" * 300, "does not resolve"),
        ("192.0.2.1", "does not have the address"),
    ],
)
def test_a_host_that_is_none_of_this_machine_is_refused(host, cause):
    with pytest.raises(ListenError, match=cause):
        listen(host, 0)


@pytest.mark.parametrize("command", ["serve", "api"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "no-such-host.invalid"])
def test_a_port_that_cannot_be_had_ends_the_command_with_5(with_bundle, workplace, command, host):
    taken = listen("127.0.0.1", 0)
    port = taken[0].getsockname()[1]
    if host == "[::1]":
        try:
            taken += listen("::1", port)
        except ListenError:
            pytest.skip("this machine has no IPv6")
    result = with_bundle(command, "--host", host, "--port", port)
    close(taken)
    assert result.code == 5
    assert "cannot listen on" in result.err
    assert list(workplace.iterdir()) == []


COMMANDS_AND_PORTS = [
    (["serve"], "--port"),
    (["api"], "--port"),
    (["api", "--port", "0"], "--metrics-port"),
    (["worker"], "--metrics-port"),
]
SLOW_IMPORTS = ("torch", "fastapi", "cv2", "PIL")


@pytest.mark.parametrize(("words", "option"), COMMANDS_AND_PORTS, ids=lambda value: "".join(value))
def test_a_taken_port_ends_every_command_before_slow_imports(words, option):
    taken = listen("127.0.0.1", 0)
    port = str(taken[0].getsockname()[1])
    program = (
        "import sys; from cli.main import main\n"
        "try: main()\n"
        f"finally: print([name for name in {SLOW_IMPORTS} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words, option, port], capture_output=True, text=True, timeout=60
    )
    close(taken)
    assert done.returncode == ExitCode.SERVER, done.stderr
    assert "in use by another program" in done.stderr and option in done.stderr
    assert done.stdout.strip() == "[]"
