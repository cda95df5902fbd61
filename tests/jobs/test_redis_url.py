"""What a URL of Redis means: a server, or a service of Sentinels with their own user and TLS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import RedisUrlError
from jobs.redis_url import checked_url, read_url, shown_url

SECRET = "SECRETWRONG"


@pytest.mark.parametrize(
    ("given_url", "own"),
    [
        ("redis+sentinel://h:26379/mymaster", "redis+sentinel://h:26379/mymaster"),
        ("valkey+sentinel://a,b:1/m/2", "redis+sentinel://a,b:1/m/2"),
        ("valkeys+sentinel://u:p@a,b/m", "rediss+sentinel://u:p@a,b/m"),
    ],
)
def test_a_url_of_sentinels_is_accepted(given_url, own):
    assert checked_url(given_url) == own and checked_url(own) == own


def test_each_part_of_a_url_of_sentinels_arrives_where_it_belongs(tmp_path):
    ca = tmp_path / "ca.pem"
    ca.touch()
    address = read_url(
        f"rediss+sentinel://app:p%2Cw%40@a:1,[::1]:2,c/my-master/3?sentinel_username=su&sentinel_password=s%26w"
        f"&ssl_ca_certs={ca}&socket_timeout=2.5"
    )
    assert address.service == "my-master" and address.tls
    assert address.sentinels == (("a", 1), ("::1", 2), ("c", 26379))
    ssl_words = {"ssl_ca_certs": str(ca)}
    assert address.server == {"username": "app", "password": "p,w@", "db": 3, "socket_timeout": 2.5, **ssl_words}
    assert address.sentinel == {"username": "su", "password": "s&w", "ssl": True, **ssl_words}
    assert address.place == "my-master of a:1, ::1:2, c:26379"


def test_the_password_of_the_server_is_not_sent_to_the_sentinels():
    assert read_url(f"redis+sentinel://:{SECRET}@h/m").sentinel == {}


def test_sentinels_may_speak_without_tls_before_servers_with_it():
    address = read_url("rediss+sentinel://h/m?sentinel_ssl=no&ssl_cert_reqs=none")
    assert address.tls and address.sentinel == {}


SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(user=SECRETS, password=SECRETS, own=SECRETS, database=st.integers(0, 15))
def test_any_password_survives_in_percent_notation(user, password, own, database):
    from urllib.parse import quote

    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    url = f"redis+sentinel://{login}@a:1,b:2/m/{database}?sentinel_password={quote(own, safe='')}"
    address = read_url(url)
    assert address.server == {"username": user, "password": password, "db": database}
    assert address.sentinel == {"password": own} and len(address.sentinels) == 2


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+sentinel://h:26379", "name of the service"),
        ("redis+sentinel://h:26379/", "name of the service"),
        (f"redis+sentinel://:{SECRET}@h:26379/my master", "name of the service"),
        ("redis+sentinel://h/m/x", "name of the service"),
        ("redis+sentinel://h,/m", "HOST:PORT"),
        ("redis+sentinel://h:0/m", "HOST:PORT"),
        (f"redis+sentinel://:{SECRET}@h:x/m", "cannot be read"),
        ("redis+sentinel:///m", "HOST:PORT"),
        (f"redis://h/0?sentinel_password={SECRET}", "unknown word sentinel_password"),
        (f"redis+sentinel://h/m?sentinel_passwort={SECRET}", "unknown word"),
        ("redis+sentinel://h/m?sentinel_username=u", "without sentinel_password"),
        ("redis+sentinel://h/m?sentinel_ssl=yes", "rediss+sentinel"),
        ("rediss+sentinel://h/m?sentinel_ssl=perhaps", "yes or no"),
        (f"redis://:{SECRET}@a:1,b:2/0", "redis+sentinel"),
        ("redis://h/0?ssl_ca_certs=/etc/hosts", "need TLS"),
        ("rediss://h/0?ssl_ca_certs=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("rediss://h/0?ssl_cert_reqs=maybe", "required, optional or none"),
        ("redis://h/0?protocol=4", "protocol"),
        ("redis://h/0?max_connections=0", "max_connections"),
        (f"redis://:{SECRET}#x@h/0", "#"),
    ],
)
def test_a_wrong_url_says_what_is_wrong_and_what_is_right(url, reason):
    with pytest.raises(RedisUrlError) as refused:
        checked_url(url)
    message = str(refused.value)
    assert reason in message and "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB" in message
    assert SECRET not in message and refused.value.__suppress_context__


def test_the_password_of_the_sentinels_is_hidden():
    shown = shown_url(f"redis+sentinel://u:{SECRET}@a:1,b:2/m/0?sentinel_username=su&sentinel_password={SECRET}&db=1")
    assert shown == "redis+sentinel://u:***@a:1,b:2/m/0?sentinel_username=su&sentinel_password=***&db=1"
