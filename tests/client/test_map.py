"""Many images at once: order, errors, progress, and what is left when the reader stops."""

import sys

import pytest

from undegrade_client import ConfigurationError, Expired, InvalidImage, Result
from undegrade_client.progress import shown_progress


@pytest.fixture
def images(picture):
    """Images of different sizes."""
    return [picture("png", (8 + number, 8)) for number in range(12)]


def test_results_come_in_the_order_of_the_images(connect, service, worker, images):
    results = list(connect(service.url).map(iter(images), jobs=3))
    assert [result.source for result in results] == images
    assert [result.width for result in results] == list(range(8, 20))
    assert {result.job.raw["lane"] for result in results} == {"standard"}


def test_results_come_as_they_end(connect, service, worker, images):
    results = list(connect(service.url).map(images, jobs=5, ordered=False, lane="bulk"))
    assert sorted(result.width for result in results) == list(range(8, 20))


def test_no_more_images_are_read_than_are_restored(connect, service, worker, images):
    read = []
    results = connect(service.url).map((read.append(1) or image for image in images), jobs=2)
    next(results)
    assert len(read) <= 4
    results.close()


def test_an_image_that_fails_ends_the_iteration_is_left_out_or_is_returned(connect, service, worker, images):
    client, mixed = connect(service.url), [*images[:2], b"no image", *images[2:4]]
    with pytest.raises(InvalidImage):
        list(client.map(mixed))
    assert [result.source for result in client.map(mixed, on_error="skip")] == [*images[:4]]
    outcomes = list(client.map(mixed, on_error="return", jobs=2))
    assert [outcome.source for outcome in outcomes] == mixed
    assert [isinstance(outcome, Result) for outcome in outcomes] == [True, True, False, True, True]
    for wrong in (dict(jobs=0), dict(on_error="ignore")):
        with pytest.raises(ConfigurationError):
            list(client.map(mixed, **wrong))


def test_progress_counts_every_image(connect, service, worker, images):
    seen = []
    results = connect(service.url).map(
        [*images, b"no image"], on_error="skip", progress=lambda done, total: seen.append((done, total))
    )  # fmt: skip
    assert len(list(results)) == len(images)
    assert seen == [(number, 13) for number in range(1, 14)]


@pytest.mark.parametrize("missing", [(), ("rich",), ("rich", "tqdm")], ids=str)
def test_a_bar_is_drawn_by_what_is_installed(monkeypatch, missing):
    for name in missing:
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with shown_progress(True, 2) as advance:
        advance()
        advance()


def states(service):
    return sorted(job["status"] for job in service.client.get("/jobs").json()["jobs"])


def test_whoever_stops_reading_cancels_what_is_under_way(connect_blocking, service, images, eventually):
    def two_images_then_an_error():
        yield from images[:2]
        eventually(lambda: states(service) == ["queued", "queued"])
        raise RuntimeError("the folder is gone")

    with pytest.raises(RuntimeError, match="the folder is gone"):  # no worker is there
        list(connect_blocking(service.url).map(two_images_then_an_error(), jobs=3))
    assert states(service) == ["canceled", "canceled"]


def test_an_iteration_that_is_closed_cancels_what_is_under_way(connect, service, toy, images, eventually):
    worker = toy()
    results = connect(service.url).map(images, jobs=3, ordered=False)
    next(results)
    worker.hold = True
    results.close()
    eventually(lambda: not {"queued", "running"} & set(states(service)))  # a worker ends what it has begun


def test_jobs_that_ended_are_left_alone_when_the_reader_stops(connect, service, toy, picture):
    client = connect(service.url)
    with pytest.raises(Expired):
        list(client.map([picture()], deadline_s=0.2, timeout_s=20))
    assert states(service) == ["expired"]
