"""Which IP addresses a caller's URL may reach.

Stricter than `ipaddress.is_global`, which differs between Python versions, and which counts addresses as global that
contain another address: 6to4, Teredo and NAT64 lead to the IPv4 address inside them.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

_REFUSED = tuple(map(ip_network, (
    # IPv4: the IANA registry of special-purpose addresses (RFC 6890), multicast and reserved addresses
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    "168.63.129.16/32",  # Azure's metadata and wire server, although its address is public
    # IPv6, within the global unicast space
    "2001::/23",  # Teredo, ORCHID, benchmarks and other protocols
    "2001:db8::/32", "3fff::/20",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
)))  # fmt: skip
_GLOBAL_UNICAST = ip_network("2000::/3")
_NEVER = tuple(map(ip_network, (
    "0.0.0.0/8", "169.254.0.0/16", "192.0.0.192/32", "100.100.100.200/32", "168.63.129.16/32", "224.0.0.0/3",
    "fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128", "ff00::/8",
)))  # fmt: skip
"""Link-local addresses, the metadata services of clouds, multicast, and addresses that mean "this host"."""
_INSIDE = tuple(map(ip_network, (
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "::1/128",
)))  # fmt: skip


def is_public(address: Address) -> bool:
    """Return whether the address belongs to the public internet, and leads to no other address."""
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address not in _GLOBAL_UNICAST):
        return False
    return address.is_global and not address.is_multicast and not _within(address, _REFUSED)


def is_public_or_inside(address: Address) -> bool:
    """Return whether the address is public, or private but neither link-local nor a metadata service."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    return not _within(address, _NEVER) and (is_public(address) or _within(address, _INSIDE))


def read_address(text: str) -> Address | None:
    """Return the address that a resolver's answer or a URL's host is in canonical form, else None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _within(address: Address, networks: tuple[object, ...]) -> bool:
    return any(address in network for network in networks)  # type: ignore[operator]
