"""Prompts are understood before a job is queued: what nobody can do is refused at once, with what can be done."""

import pytest

from jobs.record import Degradation, WorkerInfo
from jobs.spec import JobControls
from service.prompts import passes_asked, style_of

IMAGES = [{"width": 400, "height": 300}]


@pytest.fixture
def words(toy, client, until_ready):
    """A worker whose bundle takes prompts as words."""
    running = toy(repairs=("noise", "rain"), prompts="words")
    assert running.announced.wait(20)
    until_ready(client)
    return running


def queued(client):
    return len(client.get("/jobs").json()["jobs"])


@pytest.mark.parametrize(("prompt", "cannot"), [
    ("remove the watermark", []), ("....", []), ("remove the shadow", ["shadow"]),
    ("remove the noise and the shadow", ["shadow"]), ("Entferne den Schatten", ["shadow"]),
])  # fmt: skip
def test_what_the_bundle_cannot_do_is_refused_with_what_it_can_do(client, words, picture, prompt, cannot):
    answer = client.post("/restore", files={"image": picture()}, data={"prompt": prompt})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "prompt-not-understood")
    assert (problem["can"], problem["cannot"]) == (["noise", "rain"], cannot)
    assert [error["field"] for error in problem["errors"]] == ["prompt"]
    assert "best_effort" in problem["hint"] and "noise, rain" in problem["detail"]
    assert queued(client) == 0


@pytest.mark.parametrize("prompt", [
    "remove the noise", "erst den Regen entfernen, dann das Rauschen", "do nothing", "make it better", "去噪",
])  # fmt: skip
def test_what_the_bundle_can_do_is_queued(client, words, picture, prompt):
    answer = client.post("/restore", files={"image": picture()}, data={"prompt": prompt})
    assert answer.status_code == 202 and answer.json()["params"]["prompt"] == prompt


def test_best_effort_refuses_nothing(client, words, picture):
    fields = {"prompt": "remove the watermark", "best_effort": "true"}
    answer = client.post("/restore", files={"image": picture()}, data=fields)
    assert answer.status_code == 202 and answer.json()["params"]["best_effort"] is True


def test_best_effort_without_a_prompt_asks_nothing_of_older_workers(client, words, picture):
    answer = client.post("/restore", files={"image": picture()}, data={"best_effort": "true"})
    assert answer.status_code == 202 and answer.json()["params"]["best_effort"] is False


def test_estimates_and_batches_refuse_as_well(client, words):
    asked = client.post("/estimate", json={"images": IMAGES, "prompt": "remove the watermark"})
    assert (asked.status_code, asked.json()["code"]) == (422, "prompt-not-understood")
    batch = client.post("/batches", json={"prompt": "remove the watermark", "images": [{"image_url": "http://a/b"}]})
    assert (batch.status_code, batch.json()["code"]) == (422, "prompt-not-understood")


def test_free_prompts_are_not_refused(client, worker, until_ready, picture):
    until_ready(client)  # published systems, and workers of an earlier version
    answer = client.post("/restore", files={"image": picture()}, data={"prompt": "remove the watermark"})
    assert answer.status_code == 202


def test_without_a_worker_the_prompt_is_queued(client, picture):
    assert client.post("/restore", files={"image": picture()}, data={"prompt": "watermark"}).status_code == 202


def test_shares_go_with_words(client, words, picture):
    fields = {"prompt": "remove the noise and the rain", "strength": "noise=0.5"}
    assert client.post("/restore", files={"image": picture()}, data=fields).status_code == 202


def test_shares_do_not_go_with_free_prompts(client, worker, until_ready, picture):
    until_ready(client)
    fields = {"prompt": "remove the noise", "strength": "noise=0.5"}
    answer = client.post("/restore", files={"image": picture()}, data=fields)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "strength"


def test_models_say_how_they_take_prompts(client, words):
    assert client.get("/models").json()[0]["prompts"] == "words"


def info(style, *names):
    return WorkerInfo(
        name=style, host="here", bundle="b", family="toy", bundle_version="1", device="cpu", lanes=("bulk",),
        degradations=tuple(Degradation(name=name, prompt=name) for name in names), max_batch=1, ready=True,
        started_ms=0, prompts=style,
    )  # fmt: skip


def test_during_an_upgrade_the_older_workers_decide():
    assert style_of([info("words", "noise"), info("free", "noise")]) == "free"
    assert style_of([info("words", "noise"), info("free")]) == "words"  # the second has loaded nothing yet
    assert style_of([]) == "free"


@pytest.mark.parametrize(("prompt", "most", "passes"), [
    (None, 3, (3, False)), ("remove the noise", None, (1, True)), ("remove the noise and the rain", None, (2, True)),
    ("remove the noise and the rain", 1, (1, True)), ("make it better", 3, (3, False)), ("do nothing", None, (0, True)),
    ("xyzzy", 5, (1, True)),
])  # fmt: skip
def test_an_estimate_counts_the_passes_that_a_prompt_asks_for(prompt, most, passes):
    controls = JobControls(prompt=prompt, max_passes=most)
    assert passes_asked([info("words", "noise", "rain")], controls) == passes


def test_a_free_prompt_is_one_pass():
    asked = passes_asked([info("free", "noise", "rain")], JobControls(prompt="remove the noise and the rain"))
    assert asked == (1, True)
