"""The text form of quotas."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.quotas import (
    FORMS,
    MAX_COUNT,
    NO_QUOTAS,
    PERIODS_S,
    Bucket,
    QuotaError,
    Quotas,
    check_together,
    parse_quota,
    parse_quotas,
    quotas_of,
)

COUNTS = st.integers(1, MAX_COUNT)
VALID = st.one_of(
    st.tuples(st.just("requests"), COUNTS.filter(lambda n: n <= 10_000), st.sampled_from(["/s", "/min", "/h"])),
    st.tuples(st.just("megapixels"), COUNTS, st.just("/day")),
    st.tuples(st.sampled_from(["burst", "jobs", "waits"]), COUNTS, st.just("")),
)


@given(VALID, st.sampled_from(["{}", " {} ", "0{}"]))
def test_a_valid_quota_is_read_and_its_text_reads_as_itself(quota, spelling):
    name, count, ending = quota
    text = parse_quota(name, spelling.format(f"{count}{ending}"))
    assert text == f"{count}{ending}" == parse_quota(name, text)


@given(st.sampled_from([*FORMS, "speed", ""]), st.text(alphabet="0123456789/smindayhu.-+e ²٣", max_size=12))
@example("requests", "10")
@example("jobs", "10/s")
@example("megapixels", "1/h")
@example("jobs", "٣")
@example("jobs", "1e3")
@example("burst", "unlimited")
def test_a_text_is_either_a_quota_or_an_error_that_names_the_form(name, text):
    """The oracle is the grammar of the docs: a whole number without sign, and the period of its quota."""
    digits, _, period = text.strip().partition("/")
    periods = {"requests": {"s", "min", "h"}, "megapixels": {"day"}}.get(name, {""})
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    most = min(MAX_COUNT, 10_000 * PERIODS_S.get(period, 1)) if name == "requests" else MAX_COUNT
    good = name in FORMS and 1 <= number <= most and period in periods and ("/" in text) == (periods != {""})
    if good:
        assert parse_quota(name, text) == f"{number}{'/' if period else ''}{period}"
    else:
        with pytest.raises(QuotaError, match="expected"):
            parse_quota(name, text)


@pytest.mark.parametrize("items", [["jobs"], ["jobs=1", "jobs=2"], ["=1"], ["jobs=0"], ["jobs=1000001"], ["jobs=-1"]])
def test_items_that_cannot_be_read_are_errors(items):
    with pytest.raises(QuotaError):
        parse_quotas(items)


@pytest.mark.parametrize(
    ("texts", "bucket", "window_s"),
    [
        ({"requests": "10/s"}, Bucket(burst=10, interval_us=100_000), 1),
        ({"requests": "10/s", "burst": "25"}, Bucket(burst=25, interval_us=100_000), 3),
        ({"requests": "30/min"}, Bucket(burst=30, interval_us=2_000_000), 60),
        ({"requests": "1/h", "burst": "2"}, Bucket(burst=2, interval_us=3_600_000_000), 7200),
    ],
)
def test_a_rate_is_a_bucket_that_refills_evenly(texts, bucket, window_s):
    assert quotas_of(texts).requests == bucket and bucket.window_s == window_s


def test_a_key_without_its_own_quota_has_the_default_one():
    defaults = {"requests": "5/s", "burst": "50", "jobs": "9", "waits": "3"}
    own = quotas_of({"jobs": "100", "waits": "unlimited"}, defaults)
    assert own == Quotas(requests=Bucket(burst=50, interval_us=200_000), jobs=100)
    assert quotas_of({"requests": "1/s"}, defaults).requests.burst == 1, "a burst belongs to the requests beside it"
    assert quotas_of({}, {}) == NO_QUOTAS and not NO_QUOTAS and own


def test_a_quota_that_a_later_version_names_limits_nothing_and_one_in_a_later_form_is_an_error():
    assert quotas_of({"pages": "3"}) == NO_QUOTAS
    with pytest.raises(QuotaError):
        quotas_of({"jobs": "3 of each"})


@pytest.mark.parametrize("quotas", [{"burst": "3"}, {"burst": "3", "requests": "unlimited"}])
def test_a_burst_without_requests_is_an_error(quotas):
    with pytest.raises(QuotaError, match="requests"):
        check_together(quotas)
