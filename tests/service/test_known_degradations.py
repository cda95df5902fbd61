"""Degradations that the bundle of a request does not repair."""

import pytest


@pytest.mark.parametrize(("fields", "field"), [
    ({"only": "snow"}, "only"), ({"skip": "shadow"}, "skip"), ({"skip": "noise"}, "skip"),
])  # fmt: skip
def test_a_degradation_that_the_bundle_does_not_know_is_422(client, worker, until_ready, picture, fields, field):
    until_ready(client)  # the toy bundle knows noise only
    answer = client.post("/restore", files={"image": picture()}, data=fields)
    assert answer.status_code == 422 and [error["field"] for error in answer.json()["errors"]] == [field]


def test_without_a_worker_the_job_is_queued(client, picture):
    assert client.post("/restore", files={"image": picture()}, data={"only": "snow"}).status_code == 202
