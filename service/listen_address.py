"""Checks that the service does not listen on the network without authentication."""

import ipaddress

from service.refusals import UnsafeBinding
from service.settings import Auth


def check_binding(host: str, auth: Auth, any_key: bool) -> None:
    """Accept a loopback address, an existing API key, or authentication that is explicitly on or off.

    With "on", a service without keys refuses every request until the first key is created.

    Raises:
        UnsafeBinding: anyone on the network could use the service.
    """
    if auth != "auto" or any_key or _is_loopback(host):
        return
    raise UnsafeBinding(
        f"refusing to listen on {host or 'all addresses'} without an API key: anyone who reaches it could use it. "
        "Create a key, listen on 127.0.0.1, or switch authentication on or off explicitly."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
