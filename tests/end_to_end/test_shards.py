"""Three real Valkeys with one API, one worker and two webhook processes.  A server is killed, and comes back.

The worker has a bundle of tiny random networks.  Its pictures are compared with those of the command line's own loop.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from random_bundle import write_random_bundle
from redis import Redis
from sharded_service import ShardedService
from standardwebhooks.webhooks import Webhook
from webhook_receiver import Receiver

from jobs import redis_keys
from jobs.shards.numbers import shard_of
from models.controls import Controls
from models.drive import restore_one
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.restorer import Request

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PROMPT, STEPS = "remove the noise", 60


def noise(index: int) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def receiver():
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def service(tmp_path, receiver):
    with ShardedService(tmp_path, receiver) as service:
        yield service


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "autodir-small"
    write_random_bundle(folder)
    return folder


def as_the_command_line(bundle, index: int) -> np.ndarray:
    torch.set_num_threads(1)
    restorer = load_restorer(bundle, torch.device("cpu"))
    controls = Controls(steps=STEPS, max_passes=1, prompt=PROMPT, seed=index)
    request = Request(image=to_tensor(pixels_of(noise(index))), controls=controls)
    return to_pixels(restore_one(restorer, request).image)


def assert_genuine(request, secret: str, job: str, number: int = 1) -> None:
    """By the published package of the standard."""
    assert request.headers["webhook-id"] == f"msg_{job}_{number}"
    assert Webhook(secret).verify(request.body, request.headers)["data"]["id"] == job


def records(service: ShardedService, number: int) -> list[dict]:
    """Returns the secrets and the disabled URLs that a server has."""
    with Redis.from_url(service.servers[number].url) as redis:
        return [redis.hgetall(name) for name in (redis_keys.WEBHOOK_SECRETS, redis_keys.DISABLED_WEBHOOKS)]


def test_a_server_that_is_killed_keeps_only_its_own_jobs_waiting_and_all_succeed_once(service, receiver, bundle):
    indices: dict[str, int] = {}

    def submit() -> str:
        index = len(indices)
        fields = {"steps": str(STEPS), "max_passes": "1", "prompt": PROMPT, "seed": str(index)}
        job = service.submit(noise(index), f"/{index}", **fields)
        indices[job] = index
        return job

    def status(job: str) -> str:
        answer = service.client.get(f"/jobs/{job}", params={"wait": 1})
        return answer.json()["status"] if answer.status_code == 200 else "away"

    def all_succeed(jobs) -> None:
        for job in jobs:
            ended = service.until(lambda job=job: (found := status(job)) not in ("queued", "running", "away") and found,
                                  f"job {job} ends")  # fmt: skip
            assert ended == "succeeded"

    jobs = service.on_shards(submit, 3, 0, 1, 2)
    service.start("worker", "--device", "cpu", "--bundle", str(bundle), "--max-batch", "2")
    for _ in range(2):
        service.start("webhooks")
    service.until(lambda: "running" in map(status, jobs[1]), "the worker runs a job of shard 1")
    service.kill(1)

    waiting = set(jobs[1])
    listed = service.client.get("/jobs", params={"limit": 100}).json()
    assert {job["id"] for job in listed["jobs"]} == set(indices) - waiting and listed["missing_shards"] == [1]
    away = service.client.get(f"/jobs/{jobs[1][0]}")
    assert away.status_code == 503 and "shard 1 is away" in away.json()["detail"] and "Retry-After" in away.headers
    new = [submit() for _ in range(2)]
    assert {shard_of(job) for job in new} <= {0, 2}
    all_succeed([*jobs[0], *jobs[2], *new])
    for job in (*jobs[0], *jobs[2], *new):
        service.until(lambda job=job: service.delivered(job), "webhooks of the others arrive")
    ready = service.client.get("/readyz")
    assert ready.status_code == 200 and any("shard 1 is away" in note for note in ready.json()["notes"])
    assert set(map(status, jobs[1])) == {"away"}

    service.bring_back(1)
    all_succeed(jobs[1])
    listed = service.client.get("/jobs", params={"limit": 100}).json()
    assert [job["id"] for job in listed["jobs"]] == sorted(indices, key=lambda job: job[:12], reverse=True)
    assert listed["missing_shards"] == []
    secret = service.command("keys", "webhook-secret", "none").stdout.strip()
    for job, index in indices.items():
        events = service.client.get(f"/jobs/{job}/events").text
        assert events.count("event: completed\n") == 1, "it has succeeded once"
        picture = service.client.get(f"/jobs/{job}/result").content
        np.testing.assert_array_equal(pixels_of(picture), as_the_command_line(bundle, index))
        service.until(lambda job=job: service.delivered(job), "each webhook arrives")
        assert receiver.of(f"/{index}"), "at least once"
        for request in receiver.of(f"/{index}"):
            assert_genuine(request, secret, job)


def test_webhooks_of_a_server_that_was_away_arrive_with_their_ids(service, receiver):
    """One is being sent when its server is killed, and others are due later."""
    number = iter(range(100))
    paths: dict[str, str] = {}

    def submit() -> str:
        path = f"/{next(number)}"
        job = service.submit(noise(0), path)
        paths[job] = path
        return job

    def cancel(job: str) -> None:
        assert service.client.delete(f"/jobs/{job}").json()["status"] == "canceled"

    jobs = service.on_shards(submit, 3, 0, 1, 2)
    sending, refused, later = jobs[1][:3]
    receiver.hanging.add(paths[sending])
    receiver.statuses[paths[refused]] = [503, 204]
    for _ in range(2):
        service.start("webhooks")
    for job in (sending, refused):
        cancel(job)
        service.until(lambda job=job: receiver.of(paths[job]), "the first tries arrive")
    cancel(later)
    service.kill(1)
    receiver.release.set()  # the receiver has it, and the process cannot note that
    for job in (*jobs[0], *jobs[2]):
        cancel(job)
        service.until(lambda job=job: service.delivered(job), "webhooks of the others arrive meanwhile")
    service.bring_back(1)
    for job in (sending, refused, later):
        service.until(lambda job=job: service.delivered(job), "webhooks of shard 1 arrive")
    secret = service.command("keys", "webhook-secret", "none").stdout.strip()
    for job in (*jobs[0], *jobs[2], sending, refused, later):
        assert receiver.of(paths[job])
        for request in receiver.of(paths[job]):
            assert_genuine(request, secret, job)


def test_secrets_and_disabled_urls_are_those_of_all_servers_also_while_their_home_is_away(service, receiver):
    """Shard 0 is the home of both: it is the first of new servers."""
    gone, good = "/gone", "/good"
    receiver.statuses[gone] = [410]
    service.start("webhooks")
    jobs = service.on_shards(lambda: service.submit(noise(0), gone), 1, 0, 1, 2)
    signed = service.on_shards(lambda: service.submit(noise(0), good), 2, 1, 2)

    def end(job: str, state: str) -> None:
        assert service.client.delete(f"/jobs/{job}").json()["status"] == "canceled"
        service.until(lambda: [each["status"] for each in service.deliveries(job)] == [state], f"{job} is {state}")

    def refused() -> bool:
        answer = service.client.post(
            "/restore", files={"image": noise(0)}, data={"webhook_url": receiver.origin + gone}
        )
        return answer.status_code == 422 and answer.json()["code"] == "webhook-disabled"

    def of(job: str) -> list:
        return [request for request in receiver.requests if job in request.headers["webhook-id"]]

    end(jobs[2][0], "disabled")  # by its answer, 410
    assert len(receiver.of(gone)) == 1
    service.until(refused, "the API refuses the URL on all shards")
    for job in (jobs[1][0], jobs[0][0]):
        end(job, "disabled")
    assert len(receiver.of(gone)) == 1, "nothing was sent to it from another shard"

    old = service.command("keys", "webhook-secret", "none").stdout.strip()
    end(signed[1][0], "delivered")
    new = service.command("keys", "webhook-secret", "none", "--rotate").stdout.split()[0]
    assert new != old
    end(signed[2][0], "delivered")
    assert_genuine(of(signed[1][0])[0], old, signed[1][0])
    for secret in (old, new):
        assert_genuine(of(signed[2][0])[0], secret, signed[2][0])

    service.until(lambda: records(service, 0) == records(service, 1) == records(service, 2), "the copies are made")
    service.kill(0)
    assert refused(), "the copies know the disabled URL"
    end(signed[1][1], "delivered")
    assert_genuine(of(signed[1][1])[0], new, signed[1][1])
    order = service.command("keys", "webhook-secret", "none", "--rotate")
    assert order.returncode != 0 and "shard 0" in order.stdout

    service.bring_back(0)
    receiver.statuses[gone] = [204]
    answer = service.client.post(f"/jobs/{jobs[2][0]}/deliveries/1/redeliver")
    assert answer.status_code == 202, answer.text
    service.until(lambda: service.delivered(jobs[2][0]), "the receiver takes it again")
    service.until(lambda: not refused(), "the URL is enabled for all shards")
    for jobs_there in service.on_shards(lambda: service.submit(noise(0), gone), 1, 1, 2).values():
        for job in jobs_there:
            end(job, "delivered")
