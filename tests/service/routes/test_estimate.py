"""`POST /estimate`: the arithmetic of the learned costs, and honest nulls before there are any."""

import pytest

from jobs.lease import Finished
from jobs.record import Outcome, Progress
from jobs.spec import LANES
from jobs.state import State

FIXED_S, S_PER_MP = 0.5, 2.0
ONE_MP = {"images": [{"width": 1250, "height": 800}]}


def ask(client, **fields):
    answer = client.post("/estimate", json={**ONE_MP, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def run_jobs(service, picture, sizes):
    """Let jobs end as if each had cost FIXED_S + S_PER_MP x megapixels."""

    async def work(queue):
        leased, _ = await queue.lease(["toy"], LANES, 20, worker="w", token="t", held=0)
        for job in leased:
            await queue.report("t", job.spec.id, Progress())
            work_s = FIXED_S + S_PER_MP * job.spec.source.megapixels
            end = Finished(id=job.spec.id, state=State.SUCCEEDED, outcome=Outcome(), keep_s=60, work_s=work_s)
            await queue.commit("t", [end])

    for size in sizes:
        service.client.post("/restore", files={"image": picture(size=size)})
    service.queued()(work)


def test_before_anything_is_learned_the_numbers_are_null_with_a_reason(client):
    answer = ask(client)
    assert answer["images"][0]["seconds"] is None and answer["device_seconds"] is None and answer["eta_s"] is None
    assert len(answer["reasons"]) == 2 and answer["memory"] is None and answer["workers"] == 0
    assert answer["queue"] == {"position": 0, "wait_s": 0.0, "paused": False}


def test_an_estimate_is_the_arithmetic_of_what_jobs_have_cost(service, toy, picture, eventually):
    run_jobs(service, picture, [(100, 100), (500, 400), (1000, 1000), (2000, 1000)])
    toy()
    eventually(lambda: ask(service.client)["workers"])
    answer = ask(service.client, images=[{"width": 1250, "height": 800}, {"width": 3000, "height": 2000}])
    one, six = answer["images"]
    assert one["device_seconds"] == pytest.approx(FIXED_S + S_PER_MP, rel=0.02) and not one["extrapolated"]
    assert six["device_seconds"] == pytest.approx(FIXED_S + 6 * S_PER_MP, rel=0.05) and six["extrapolated"]
    assert answer["device_seconds"] == pytest.approx(one["device_seconds"] + six["device_seconds"], abs=0.01)
    assert answer["learned"]["jobs"] == 4 and answer["reasons"] == [] and answer["workers"] == 1
    assert answer["eta_s"] >= answer["device_seconds"]


def test_the_place_in_line_is_that_of_a_job_that_is_sent_now(service, picture, submitted):
    run_jobs(service, picture, [(100, 100)])
    for lane in ("interactive", "standard", "bulk"):
        submitted(lane=lane)
    assert [ask(service.client, lane=lane)["queue"]["position"] for lane in LANES] == [1, 2, 3]
    service.queued()(lambda queue: queue.pauses.pause("bulk", "test"))
    bulk = ask(service.client, lane="bulk")["queue"]
    assert bulk["paused"] and bulk["wait_s"] is None


def test_a_detection_is_estimated_from_detections_only(service, picture):
    run_jobs(service, picture, [(100, 100)])
    assert ask(service.client, kind="detect")["device_seconds"] is None
    assert ask(service.client, kind="restore")["device_seconds"] is not None


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [({}, 422, "images"), ({"images": []}, 422, "images"), ({"images": [{"width": 5}]}, 422, "images"),
     ({"images": [{"width": 0, "height": 5}]}, 422, "width"),
     ({"images": [{"width": 5, "height": 1.5}]}, 422, "height"),
     ({"images": [{"width": True, "height": 5}]}, 422, "width"), ({**ONE_MP, "strength": 2}, 422, "strength"),
     ({**ONE_MP, "kind": "x"}, 422, "kind"), ({**ONE_MP, "only": ["noize"]}, 422, "only"),
     ({"images": [{"width": 10_000, "height": 10_000}]}, 413, None),
     ({"images": [{"width": 10_000, "height": 10_000}], "seed": "x"}, 422, "seed"),
     ({**ONE_MP, "bundle": "nobody-has-it"}, 422, "bundle"),
     ({**ONE_MP, "webhook_events": ["failed"]}, 422, "webhook_events")],
)  # fmt: skip
def test_a_wrong_question_is_refused_and_named(client, body, status, field):
    answer = client.post("/estimate", json=body)
    assert answer.status_code == status, answer.text
    assert field is None or answer.json()["errors"][0]["field"] == field


def test_a_side_that_no_number_can_hold_is_refused(client):
    answer = client.post(
        "/estimate", content='{"images": [{"width": 1e400, "height": 5}]}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "width"
