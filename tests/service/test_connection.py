"""Slow, silent, oversized and malformed requests, over raw sockets."""

import json
import socket
import time

import pytest

from service.connection import MAX_HEADER_BYTES, MAX_HEADERS, MAX_URL_BYTES

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


def connect(service):
    connection = socket.create_connection(("127.0.0.1", service.settings.port))
    connection.settimeout(15)
    return connection


def answer_to(service, data):
    """Returns status, headers and body of everything that the server sends until it closes the connection."""
    with connect(service) as connection:
        connection.sendall(data)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else None, head.lower(), body


def check_problem(answer, status, code):
    assert answer[0] == status and b"content-type: application/problem+json" in answer[1]
    assert b"connection: close" in answer[1] and b"x-request-id: " in answer[1]
    assert json.loads(answer[2])["code"] == code


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\0 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
])  # fmt: skip
def test_bytes_that_are_not_http_are_a_problem(service, data):
    if data.endswith(b"1.1\r\n\r\n"):  # valid bytes, but the Host is missing
        data = data[:-2] + b"Connection: close\r\n\r\n"
    check_problem(answer_to(service, data), 400, "malformed-request")


@pytest.mark.parametrize("headers", [
    b"X-Long: " + b"a" * MAX_HEADER_BYTES + b"\r\n", b"X: y\r\n" * (MAX_HEADERS + 1),
    b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(MAX_HEADER_BYTES // 1000 + 1)),
    b"X-Endless: " + b"a" * 4 * (MAX_HEADER_BYTES + MAX_URL_BYTES),
])  # fmt: skip
def test_too_many_headers_are_431(service, headers):
    end = b"" if b"Endless" in headers else b"\r\n"
    check_problem(answer_to(service, HEAD + headers + end), 431, "headers-too-large")


def test_as_many_headers_as_allowed_are_accepted(service):
    headers = b"X: y\r\n" * (MAX_HEADERS - 2) + b"Connection: close\r\n"
    assert answer_to(service, HEAD + headers + b"\r\n")[0] == 200


def test_a_long_url_is_414(service):
    url = b"GET /" + b"a" * MAX_URL_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    check_problem(answer_to(service, url), 414, "uri-too-long")


def test_a_silent_connection_is_closed(serve):
    service = serve(head_s=0.2)
    assert answer_to(service, b"")[0] is None
    assert answer_to(service, b"\r\n")[0] in (None, 408)


@pytest.mark.parametrize("data", [b"GET /livez HT", HEAD, HEAD + b"X-Slow: "])
def test_a_head_that_does_not_end_is_408(serve, data):
    check_problem(answer_to(serve(head_s=0.2), data), 408, "request-timeout")


def test_a_second_head_on_a_connection_has_the_same_limits(serve):
    answer = answer_to(serve(head_s=0.2), HEAD + b"\r\n" + HEAD)
    assert answer[0] == 200 and answer[2].count(b"HTTP/1.1 408") == 1


@pytest.mark.parametrize("body", [b"", b"a" * 50])
def test_a_body_that_stalls_is_408_and_frees_its_connection(serve, body, eventually):
    service = serve(stall_s=0.2)
    head = b"POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n"
    check_problem(answer_to(service, head + body), 408, "request-timeout")
    eventually(lambda: not service.server.server_state.connections and not service.server.server_state.tasks)


REFUSED_EARLY = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
"""Answered with 404 before its body has arrived."""


def test_a_client_that_still_sends_reads_the_refusal_to_its_end(service, eventually):
    """A closed socket would answer its bytes with a reset, and the client would see no response."""
    with connect(service) as connection:
        connection.sendall(REFUSED_EARLY)
        received = connection.recv(65536)
        for _ in range(3):
            time.sleep(0.02)
            connection.sendall(bytes(100_000))
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 404") and b"connection: close" in received.lower()
    assert json.loads(received.partition(b"\r\n\r\n")[2])["code"] == "not-found"
    eventually(lambda: not service.server.server_state.connections)


def test_a_client_that_sends_no_more_after_a_refusal_is_closed(service):
    assert answer_to(service, REFUSED_EARLY + bytes(10))[0] == 404


def test_no_request_is_read_after_a_refusal_that_closes_the_connection(service):
    with connect(service) as connection:
        connection.sendall(REFUSED_EARLY)
        received = connection.recv(65536)
        connection.sendall(bytes(300_000) + HEAD + b"\r\n")
        while part := connection.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 ") == 1


def test_an_idle_connection_is_kept_for_the_setting_and_then_closed(serve):
    service = serve(idle_s=1, head_s=0.2)
    with connect(service) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        while connection.recv(65536):  # the end of the body, then the end of the connection
            pass
