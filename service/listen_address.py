"""Whether an address may be listened on: open ports without a key are how such servers end up in scans."""

import ipaddress

from service.refusals import UnsafeBinding
from service.settings import Auth


def check_binding(host: str, auth: Auth, any_key: bool) -> None:
    """Pass when only this machine can reach the service, or a key is asked for, or its owner has said `off`.

    Raises:
        UnsafeBinding: it would be open to the network; the message says what to do.
    """
    if auth == "off" or any_key or _is_loopback(host):
        return
    raise UnsafeBinding(
        f"refusing to listen on {host} without an API key: anyone who reaches it could use it. "
        "Create a key, listen on 127.0.0.1, or switch authentication off explicitly."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
