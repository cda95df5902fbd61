"""Submission: a full queue, a queue that fills meanwhile, and a repeated command."""

import io
import socket

import pytest
from PIL import Image

from jobs.blob_store import CARRIED_BYTES


def test_a_full_queue_answers_503_with_retry_after_and_queues_nothing(serve, picture, valkey):
    service = serve(max_queued=2)
    for _ in range(2):
        assert service.client.post("/restore", files={"image": picture()}).status_code == 202
    blobs = valkey.do(lambda redis: redis.dbsize())
    answer = service.client.post("/restore", files={"image": picture()})
    assert answer.status_code == 503 and answer.json()["code"] == "queue-full"
    assert int(answer.headers["retry-after"]) >= 1
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 2
    assert valkey.do(lambda redis: redis.dbsize()) == blobs


def test_a_full_queue_refuses_a_large_body_before_it_has_arrived(serve):
    service = serve(max_queued=0)
    with socket.create_connection(("127.0.0.1", service.settings.port), timeout=10) as connection:
        connection.sendall(
            b"POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 2000000\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize("side", [24, 1000], ids=["stored with the job", "stored before the job"])
def test_a_queue_that_fills_after_the_early_check_stores_no_blob(serve, picture, valkey, side):
    """The early check saves time; the second check is atomic."""
    target = io.BytesIO()
    Image.effect_noise((side, 1200), 90).save(target, "png")
    assert (len(target.getvalue()) > CARRIED_BYTES) == (side == 1000)
    service = serve(max_queued=1)
    assert service.client.post("/restore", files={"image": picture()}).status_code == 202

    async def accept(*arguments) -> None:
        return None

    service.app.state.desk.refuse_early = accept
    keys = valkey.do(lambda redis: sorted(redis.keys()))
    answer = service.client.post("/restore", files={"image": target.getvalue()})
    assert answer.json()["code"] == "queue-full"
    assert valkey.do(lambda redis: sorted(redis.keys())) == keys


def test_retry_after_is_the_measured_drain_rate(serve, picture, valkey):
    service = serve(max_queued=0)
    now_ms = service.queued()(lambda queue: queue.now_ms())
    valkey.do(lambda redis: redis.rpush("undegrade:drain:toy", f"{now_ms} {now_ms - 42_000}"))
    answer = service.client.post("/restore", files={"image": picture()})
    assert answer.status_code == 503 and 42 <= int(answer.headers["retry-after"]) <= 84


def test_a_submission_that_was_sent_twice_is_one_job(service, picture):
    """The Redis client repeats a command when the reply was lost; the second then finds the id taken."""
    submit = service.app.state.desk.queue.submit

    async def twice(*arguments, **named):
        await submit(*arguments, **named)
        return await submit(*arguments, **named)

    service.app.state.desk.queue.submit = twice
    assert service.client.post("/restore", files={"image": picture()}).status_code == 202
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 1
