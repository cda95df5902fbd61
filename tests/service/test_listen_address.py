"""The service listens on the network only with a key, or with authentication explicitly on or off."""

import pytest

from service.listen_address import check_binding
from service.refusals import UnsafeBinding


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.9.1"])
def test_loopback_needs_no_key(host):
    check_binding(host, "auto", any_key=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "", "example.org"])
def test_the_network_needs_a_key_or_an_explicit_word(host):
    with pytest.raises(UnsafeBinding, match="without an API key"):
        check_binding(host, "auto", any_key=False)
    check_binding(host, "on", any_key=False)
    check_binding(host, "auto", any_key=True)
    check_binding(host, "off", any_key=False)
