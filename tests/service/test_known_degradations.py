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


def test_a_word_that_the_bundle_has_learned_is_valid_everywhere(toy, client, until_ready, picture):
    toy(repairs=("noise", "banding")).announced.wait(20)
    until_ready(client)
    listed = {entry["name"]: entry for entry in client.get("/degradations").json()}["banding"]
    assert listed["available"] and listed["prompt"] == "toy banding" and listed["aliases"] == []
    for fields in ({"only": "Banding"}, {"skip": "banding"}, {"strength": "banding=0.5"}):
        assert client.post("/restore", files={"image": picture()}, data=fields).status_code == 202
    answer = client.post("/restore", files={"image": picture()}, data={"only": "bandings"})
    assert answer.status_code == 422 and "it knows banding, noise" in answer.text


@pytest.mark.parametrize("word", ["hazzy", "nois", "Old!"])
def test_a_typing_error_is_422_also_without_a_worker(client, picture, word):
    answer = client.post("/restore", files={"image": picture()}, data={"only": word})
    assert answer.status_code == 422 and "expected one of noise" in answer.text
