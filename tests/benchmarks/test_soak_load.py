"""The account of a soak run: which webhooks are missing, whatever order answers and webhooks come in."""

import argparse
import io
import json

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from soak import report
from soak_load import Account, photo


@given(
    st.permutations([(job, side) for job in "abcd" for side in ("answer", "webhook")]), st.sets(st.sampled_from("abcd"))
)
def test_a_webhook_is_missing_only_where_none_has_come(order, lost):
    account = Account()
    for job, side in order:
        if side == "answer":
            account.expect(job, 0.0)
        elif job not in lost:
            account.heard(json.dumps({"data": {"id": job}}).encode())
    assert set(account.hooks) == lost and not account.early


def test_photos_are_files_of_their_format():
    for side, kind in ((32, "JPEG"), (64, "PNG")):
        with Image.open(io.BytesIO(photo(side, kind, 1))) as image:
            assert (image.format, image.size) == (kind, (side, side))


def rows(growth):
    return [{"at_s": 60.0 * i, "api memory": 1e8 + growth * i, "p99 ms": 10.0 + i} for i in range(30)]


def options():
    return argparse.Namespace(minutes=30.0, warm_up=None, goal=1.0, rate=1.0, seed=0)


def test_a_run_is_good_only_without_growth_of_memory_and_without_failures():
    lines, good = report(rows(0), Account(), options())
    assert good and any("| p99 ms |" in line and "no goal" in line for line in lines), "latency fails no run"
    lines, good = report(rows(1e5), Account(), options())
    assert not good and any("api memory" in line and "grows" in line for line in lines)
    lines, good = report(rows(0), Account(failures=["picture: 500"]), options())
    assert not good and "- picture: 500" in lines
