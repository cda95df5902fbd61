"""`POST /jobs/{id}/retry`: a new job with the same input, for jobs that failed."""

import pytest

from jobs.record import Failure
from jobs.state import State

CRASH = Failure(code="internal-error", detail="the engine crashed", hint="")
OPTIONS = {"prompt": "remove the rain", "strength": "0.5", "lane": "bulk", "labels": "team=red", "deadline_s": "600"}


def end_of(client, job):
    return client.get(f"/jobs/{job['id']}?wait=20").json()


@pytest.mark.parametrize("store", ["redis", "file"])
@pytest.mark.parametrize("padding", [0, 2 << 20], ids=["carried", "stored apart"])
def test_a_failed_job_is_tried_again_with_the_same_input_and_options(serve, toy, picture, tmp_path, store, padding):
    options = {"store_url": f"file://{tmp_path}"} if store == "file" else {}
    client = serve(**options).client
    worker = toy(failure=CRASH, **options)
    files = {"image": picture(size=(31, 17)) + b"\0" * padding}
    failed = end_of(client, client.post("/restore", files=files, data=OPTIONS).json())
    assert failed["status"] == "failed"
    worker.failure = None
    answer = client.post(f"/jobs/{failed['id']}/retry")
    assert answer.status_code == 202 and answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    again = end_of(client, answer.json())
    assert again["status"] == "succeeded" and again["id"] != failed["id"]
    assert (again["result"]["width"], again["result"]["height"]) == (31, 17)
    assert all(again[name] == failed[name] for name in ("params", "lane", "labels", "kind", "bundle"))


def test_what_has_not_ended_or_has_no_input_any_more_is_refused(client, toy, submitted):
    waiting, canceled = submitted(), submitted()
    client.delete(f"/jobs/{canceled['id']}")
    assert client.post(f"/jobs/{waiting['id']}/retry").json()["code"] == "not-finished"
    toy()
    end_of(client, waiting)
    for job in (waiting, canceled):
        answer = client.post(f"/jobs/{job['id']}/retry")
        assert answer.status_code == 410 and "send the image again" in answer.json()["hint"]
    assert client.post(f"/jobs/{'0' * 32}/retry").status_code == 404
    assert client.post(f"/jobs/{waiting['id']}/retry?lane=bulk").json()["errors"][0]["field"] == "lane"


def test_a_retry_with_an_idempotency_key_makes_one_job(client, toy, submitted):
    toy(failure=CRASH)
    failed = end_of(client, submitted())
    answers = [client.post(f"/jobs/{failed['id']}/retry", headers={"Idempotency-Key": "a"}) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["Idempotency-Replayed"] == "true"


def test_deleting_a_failed_job_deletes_its_input(client, toy, submitted, valkey):
    toy(failure=CRASH)
    job = end_of(client, submitted())
    assert valkey.do(lambda redis: redis.keys("undegrade:blob:*"))
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert not valkey.do(lambda redis: redis.keys("undegrade:blob:*"))
    assert State(job["status"]) is State.FAILED
