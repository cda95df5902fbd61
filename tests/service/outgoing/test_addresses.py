"""No address but one of the public internet passes, compared with Python's `ipaddress` and published tricks."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.outgoing.addresses import is_public, is_public_or_inside

PRIVATE = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.31.255.255", "169.254.169.254", "100.64.0.1", "0.0.0.0"]


def embedding(address: IPv4Address) -> list[IPv6Address]:
    """IPv6 addresses that lead to an IPv4 address."""
    number = int(address)
    return [
        ip_address(f"::ffff:{address}"),
        ip_address(f"::{address}"),  # IPv4-compatible
        ip_address(int(ip_address("::ffff:0:0:0")) | number),  # IPv4-translated (RFC 2765)
        ip_address(int(ip_address("64:ff9b::")) | number),  # NAT64 (RFC 6052)
        ip_address(int(ip_address("64:ff9b:1::")) | number),  # local NAT64 (RFC 8215)
        ip_address(int(ip_address("2002::")) | number << 80),  # 6to4
        ip_address(int(ip_address("2001::")) | (number ^ 0xFFFFFFFF)),  # Teredo client
        ip_address(int(ip_address("2001::")) | number << 64),  # Teredo server
        ip_address(int(ip_address("fe80::5efe:0:0")) | number),  # ISATAP
    ]


@given(st.ip_addresses())
@example(ip_address("168.63.129.16")).via("Azure's wire server")
@example(ip_address("fd00:ec2::254")).via("metadata of AWS over IPv6")
def test_a_public_address_is_global_by_pythons_rules_too(address):
    if is_public(address):
        assert address.is_global and not address.is_private and not address.is_multicast
        assert not (address.is_link_local or address.is_loopback or address.is_reserved or address.is_unspecified)
        assert is_public_or_inside(address)


@given(st.ip_addresses(v=4))
@example(ip_address("127.0.0.1"))
@example(ip_address("8.8.8.8"))
@example(ip_address("0.0.0.1")).via("::0.0.0.1 is ::1, IPv6's own loopback, which is inside")
def test_no_ipv6_address_that_leads_to_an_ipv4_address_passes(address):
    for inner in embedding(address):
        assert not is_public(inner)
        assert str(inner) == "::1" or not is_public_or_inside(inner)


@pytest.mark.parametrize("text", [
    *PRIVATE, "255.255.255.255", "224.0.0.1", "240.0.0.1", "198.18.0.1", "192.0.0.1", "192.0.2.1", "203.0.113.9",
    "100.100.100.200", "168.63.129.16", "192.88.99.1", "::", "::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "5f00::1", "100::1",
    "64:ff9b::8.8.8.8", "2606:4700:4700::1111%1",
])  # fmt: skip
def test_special_addresses_are_not_public(text):
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450::1"])
def test_ordinary_addresses_are_public(text):
    assert is_public(ip_address(text))


@pytest.mark.parametrize(("network", "neighbours"), [
    ("10.0.0.0/8", ["9.255.255.255", "11.0.0.0"]), ("172.16.0.0/12", ["172.15.255.255", "172.32.0.0"]),
    ("192.168.0.0/16", ["192.167.255.255", "192.169.0.0"]), ("100.64.0.0/10", ["100.63.255.255", "100.128.0.0"]),
])  # fmt: skip
def test_a_private_network_is_refused_to_its_ends_and_no_further(network, neighbours):
    assert not any(is_public(ip_network(network)[end]) for end in (0, -1))
    assert all(is_public(ip_address(neighbour)) for neighbour in neighbours)


@pytest.mark.parametrize("text", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::",
                                  "224.0.0.1", "ff02::1", "168.63.129.16"])  # fmt: skip
def test_even_a_named_origin_never_leads_to_a_metadata_service(text):
    assert not is_public_or_inside(ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd12::1", "8.8.8.8"])
def test_a_named_origin_may_be_in_a_private_network(text):
    assert is_public_or_inside(ip_address(text))
