"""Which URLs of callers are allowed, by their form: scheme, host and port.  Nothing is resolved or reached here.

The URL is taken apart once, by one strict pattern, and the request is made of these parts.  So no second parser can
see another host in it.
"""

import re
from dataclasses import dataclass

from service.outgoing.addresses import is_public, is_public_or_inside, read_address
from service.outgoing.refusals import UrlNotAllowed

MAX_URL_LENGTH = 4096
"""Characters.  Presigned URLs with a session token have about 2,500."""
_DEFAULT_PORTS = {"https": 443, "http": 80}
_URL = re.compile(r"(https?)://([^/?#]*)([/?][A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*)?(#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?")
_LOOKS_LIKE_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""A last label that inet_aton() reads as a number, for example in 0177.1 or 0x7f000001."""
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")


@dataclass(frozen=True)
class Destination:
    """A URL that is allowed by its form.

    Attributes:
        host: a name in lower case, or an address without brackets.
        target: path and query.
        inside: the operator has named this origin, so it may have a private address.
    """

    scheme: str
    host: str
    port: int
    target: str
    inside: bool = False

    @property
    def authority(self) -> str:
        """Returns the value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Returns scheme, host and port, without what may be a credential."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, kw_only=True)
class HostRules:
    """The hosts and ports that callers may name.

    Attributes:
        hosts: "*" allows all public hosts, `example.com` this host, `*.example.com` all below it.  An origin such as
            `http://app.internal:3000` allows exactly this one, also at a private address and without TLS.
        ports: of all hosts that are not named as an origin.
    """

    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = (443,)

    def destination(self, url: str) -> Destination:
        """Return the parts of an allowed URL.

        Raises:
            UrlNotAllowed: the reason is in the message.
        """
        found = _parts(url)
        if found.origin in {_origin(entry) for entry in self.hosts if "://" in entry}:
            return Destination(found.scheme, found.host, found.port, found.target, inside=True)
        if found.scheme != "https":
            raise UrlNotAllowed("the URL must begin with https://")
        if not any(_matches(found.host, entry) for entry in self.hosts):
            raise UrlNotAllowed(
                f"the operator of this service does not allow URLs of the host {found.host!r}"
                if self.hosts
                else "this service allows no URLs here"
            )
        if found.port not in self.ports:
            raise UrlNotAllowed(f"port {found.port} is not allowed, only {', '.join(map(str, self.ports))}")
        address = read_address(found.host)
        if address is not None and not is_public(address):
            raise UrlNotAllowed("the URL's host is no public address")
        return found


def check_host_entry(entry: str) -> None:
    """Check one entry of `HostRules.hosts`.

    Raises:
        ValueError: it has another form; the message says which.
    """
    if "://" in entry:
        try:
            parts = _parts(entry) if _ORIGIN.fullmatch(entry) else None
        except UrlNotAllowed as refusal:
            raise ValueError(f"got {entry!r}: {refusal.detail}") from None
        address = read_address(parts.host) if parts else None
        if parts and (address is None or is_public_or_inside(address)):
            return
    else:
        name = entry.removeprefix("*.")
        if entry == "*" or (_NAME.fullmatch(name) and not _LOOKS_LIKE_A_NUMBER.fullmatch(name)):
            return
        if entry == name and (address := read_address(entry)) is not None and is_public(address):
            return
    raise ValueError(f"got {entry!r}, expected *, example.com, *.example.com, or an origin: http://app.internal:3000")


def _parts(url: str) -> Destination:
    if len(url) > MAX_URL_LENGTH:
        raise UrlNotAllowed(f"the URL has {len(url)} characters, more than {MAX_URL_LENGTH}")
    match = _URL.fullmatch(url)
    if match is None:
        raise UrlNotAllowed("expected an https URL with a host; write other characters than ASCII as %XX")
    scheme, authority, target, fragment = match.groups()
    if fragment is not None:
        raise UrlNotAllowed("the URL must not contain a fragment (#...)")
    if "@" in authority:
        raise UrlNotAllowed("the URL must not contain a user name or password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise UrlNotAllowed("the URL's host is no name in ASCII (xn--... for others), and no address")
    scheme, host, port = scheme.lower(), parts[1].lower(), int(parts[2] or _DEFAULT_PORTS[scheme.lower()])
    target = target or "/"
    return Destination(scheme, _host(host), port, target if target.startswith("/") else f"/{target}")


def _host(host: str) -> str:
    if host.startswith("["):
        address = read_address(host[1:-1])
        if address is None or address.version != 6:
            raise UrlNotAllowed("the URL's host is no valid IPv6 address")
        return str(address)
    if _LOOKS_LIKE_A_NUMBER.fullmatch(host):
        # Only the form with four decimal numbers: 127.1, 0x7f.0.0.1 and 2130706433 are read in several ways
        if read_address(host) is None:
            raise UrlNotAllowed("write the URL's IPv4 address as four decimal numbers")
    elif not _NAME.fullmatch(host):
        raise UrlNotAllowed("the URL's host is no valid name; it must not end with a dot")
    return host


def _origin(entry: str) -> str:
    return _parts(entry).origin


def _matches(host: str, entry: str) -> bool:
    if entry.startswith("*."):
        return host.endswith(entry[1:].lower())
    return entry in ("*", host) or entry.lower() == host
