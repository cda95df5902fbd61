"""The guarded client against real TLS servers: what it dials, what it sends, and where it stops."""

import asyncio
import os

import pytest
import trustme
from url_servers import PUBLIC, LoopbackNetwork, TlsServer, answering, resolving

from service.outgoing.client import ExchangeLimits, OutgoingClient
from service.outgoing.host_rules import HostRules
from service.outgoing.refusals import (
    UrlBadAnswer,
    UrlBodyTooLarge,
    UrlNotAllowed,
    UrlRedirects,
    UrlTooSlow,
    UrlUnreachable,
)

LIMITS = ExchangeLimits(total_s=10, max_bytes=1000)
SHORT = ExchangeLimits(total_s=0.5, max_bytes=10**9)


def client_of(server, *answers, network=None, tls=None):
    """A client for which receiver.test has a public address that leads to the server."""
    rules = HostRules(hosts=("*",), ports=(server.port,))
    resolve = resolving(*(answers or ([PUBLIC],)))
    return OutgoingClient(rules, resolve=resolve, tls=tls or server.trusting, network=network or LoopbackNetwork())


async def fetched(client, server, limits=LIMITS):
    async with client.get_stream(f"https://receiver.test:{server.port}/a?b=c", limits) as stream:
        return b"".join([chunk async for chunk in stream])


def run(script, scenario, **options):
    async def main():
        async with TlsServer(script, **options).running() as server:
            return await scenario(server)

    return asyncio.run(main())


def refused(script, kind, *answers, limits=LIMITS, **options):
    """Fetch from a server, and return the refusal and the server."""

    async def scenario(server):
        with pytest.raises(kind) as refusal:
            await fetched(client_of(server, *answers), server, limits)
        return refusal.value, server

    refusal, server = run(script, scenario, **options)
    assert PUBLIC not in refusal.detail and "a?b=c" not in refusal.detail
    return refusal, server


def test_it_dials_the_checked_address_with_the_urls_name_in_host_sni_and_certificate():
    async def scenario(server):
        network = LoopbackNetwork()
        assert await fetched(client_of(server, network=network), server) == b"picture"
        assert network.dialed == [PUBLIC] and server.names == ["receiver.test"]
        head = server.heads[0].decode().lower()
        assert head.startswith("get /a?b=c http/1.1\r\n") and f"host: receiver.test:{server.port}\r\n" in head
        assert "accept-encoding: identity" in head and "cookie" not in head and "authorization" not in head

    run(answering(body=b"picture"), scenario)


@pytest.mark.parametrize("answer", [
    [PUBLIC, "10.0.0.1"], ["127.0.0.1", PUBLIC], ["::ffff:93.184.216.34"], ["fe80::1%lo"], ["not-an-address", PUBLIC],
    [], OSError("no such host"), UnicodeError("label too long"),
])  # fmt: skip
def test_one_address_that_is_not_public_refuses_the_host_and_nothing_is_dialed(answer):
    refusal, server = refused(answering(), UrlNotAllowed, answer)
    assert server.names == [] and refusal.status == 422


def test_a_name_without_addresses_and_one_with_a_private_address_are_refused_alike():
    unknown, _ = refused(answering(), UrlNotAllowed, OSError("unknown"))
    private, _ = refused(answering(), UrlNotAllowed, ["10.0.0.1"])
    assert unknown.detail == private.detail


def test_a_name_is_resolved_once_so_a_second_answer_changes_nothing():
    async def scenario(server):
        network = LoopbackNetwork()
        client = client_of(server, [PUBLIC], ["169.254.169.254"], network=network)
        await fetched(client, server)
        assert network.dialed == [PUBLIC] and client._resolve.calls == 1

    run(answering(), scenario)


def test_the_next_checked_address_is_dialed_where_one_accepts_nothing():
    async def scenario(server):
        network = LoopbackNetwork(refusing=("2606:4700:4700::1111",))
        await fetched(client_of(server, ["2606:4700:4700::1111", PUBLIC], network=network), server)
        assert network.dialed == ["2606:4700:4700::1111", PUBLIC]

    run(answering(), scenario)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused(status):
    _, server = refused(answering(status, headers=["Location: https://127.0.0.1/"]), UrlRedirects)
    assert len(server.heads) == 1


def test_a_certificate_for_another_name_or_of_an_unknown_authority_is_refused():
    refusal, server = refused(answering(), UrlUnreachable, name="other.test")
    assert "certificate" in refusal.detail and server.heads == []

    async def unknown_authority(server):
        stranger = TlsServer(answering(), authority=trustme.CA())
        with pytest.raises(UrlUnreachable, match="certificate"):
            await fetched(client_of(server, tls=stranger.trusting), server)

    run(answering(), unknown_authority)


def test_a_server_that_sends_a_byte_now_and_then_is_cut_at_the_time_limit():
    async def drip(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def dripping_head(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def silent(_head, _writer):
        await asyncio.sleep(60)

    for script in (drip, dripping_head, silent):
        refused(script, UrlTooSlow, limits=SHORT)


def test_a_resolver_that_hangs_is_cut_at_the_time_limit():
    async def scenario(server):
        async def hanging(_host, _port):
            await asyncio.sleep(60)

        client = OutgoingClient(HostRules(hosts=("*",), ports=(server.port,)), resolve=hanging, tls=server.trusting)
        with pytest.raises(UrlTooSlow):
            await fetched(client, server, SHORT)

    run(answering(), scenario)


def test_an_endless_body_is_cut_at_the_byte_limit_and_a_long_one_before_its_first_byte():
    sent = []

    async def endless(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 500)
            await writer.drain()
            sent.append(500)

    refused(endless, UrlBodyTooLarge)
    assert sum(sent) < 50_000_000
    refused(answering(body=b"x" * 1001), UrlBodyTooLarge)


def test_errors_and_compressed_bodies_are_no_pictures():
    refusal, _ = refused(answering(404), UrlBadAnswer)
    assert refusal.extra == {"upstream_status": 404}
    refused(answering(headers=["Content-Encoding: gzip"]), UrlBadAnswer)


@pytest.mark.parametrize(
    "bytes_sent", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"]
)
def test_broken_answers_are_refused(bytes_sent):
    async def script(_head, writer):
        writer.write(bytes_sent)
        await writer.drain()

    refused(script, UrlUnreachable)


def test_proxies_and_credentials_of_the_environment_are_ignored(monkeypatch, tmp_path):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine receiver.test login me password secret\n")
    monkeypatch.setenv("NETRC", os.fspath(tmp_path / ".netrc"))

    async def scenario(server):
        assert await fetched(client_of(server), server) == b"ok"
        assert b"authorization" not in server.heads[0].lower()

    run(answering(), scenario)


def test_post_and_put_send_the_body_and_return_every_status():
    async def parts():
        for part in (b"one", b"two"):
            yield part

    async def scenario(server):
        client, url = client_of(server), f"https://receiver.test:{server.port}/hook"
        answer = await client.post(url, b"{}", {"content-type": "application/json"}, LIMITS)
        assert answer.status == 503 and answer.headers["retry-after"] == "7"
        assert (await client.put(url, parts(), 6, {"content-type": "image/png"}, LIMITS)).status == 503
        assert server.bodies == [b"{}", b"onetwo"]
        assert b"content-type: image/png" in server.heads[1] and b"chunked" not in server.heads[1].lower()

    run(answering(503, headers=["Retry-After: 7"]), scenario)


def test_the_endless_answer_to_a_post_is_read_to_the_limit_only():
    async def endless(_head, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 500)
            await writer.drain()

    async def scenario(server):
        url = f"https://receiver.test:{server.port}/"
        assert (await client_of(server).post(url, b"", {}, LIMITS)).status == 200

    run(endless, scenario)


def test_the_time_limit_leaves_an_error_of_the_callers_block_alone():
    async def scenario(server):
        for error in (TimeoutError("mine"), OSError("disk full")):
            with pytest.raises(type(error), match=str(error)):
                async with client_of(server).get_stream(f"https://receiver.test:{server.port}/", LIMITS):
                    raise error

    run(answering(), scenario)
