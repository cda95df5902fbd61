"""The client, blocking and asynchronous, against a real service."""

import io

import numpy as np
import pytest
from PIL import Image

from jobs.record import Failure
from undegrade_client import (
    AuthenticationError,
    Canceled,
    ConnectionFailed,
    DamagedImage,
    DeadlineExceeded,
    ImageTooLarge,
    InputError,
    InvalidImage,
    InvalidRequest,
    JobFailed,
    NotFound,
    PromptNotUnderstood,
    UnexpectedAnswer,
)

RED = (255, 0, 0)


def is_red(result, size):
    with Image.open(io.BytesIO(result.data)) as image:
        return image.size == size and image.convert("RGB").getcolors() == [(size[0] * size[1], RED)]


@pytest.mark.parametrize("form", ["path", "text", "bytes", "file", "pillow", "array"])
def test_an_image_of_any_form_is_restored(connect, service, worker, picture, tmp_path, form):
    path = tmp_path / "photo.png"
    path.write_bytes(picture("png", (24, 16)))
    with Image.open(path) as opened:
        opened.load()
    image = {
        "path": path, "text": str(path), "bytes": path.read_bytes(), "file": io.BytesIO(path.read_bytes()),
        "pillow": opened, "array": np.asarray(opened),
    }[form]  # fmt: skip
    result = connect(service.url).restore(image, seed=7, steps=3)
    assert is_red(result, (24, 16)) and (result.width, result.height, result.format) == (24, 16, "png")
    assert result.degradations == {"noise": 0.75, "blur": 0.2, "clean": 0.05}
    assert list(result.degradations) == ["noise", "blur", "clean"]
    assert [(one.label, one.kept) for one in result.passes] == [("noise", True), ("blur", False)]
    assert (result.repaired, result.seed, result.stop_reason, result.warnings) == (("noise",), 7, "clean", ())
    assert result.source is image
    assert result.image.getpixel((0, 0)) == RED


def test_options_arrive_as_they_were_given(connect, service, worker, picture):
    options = dict(
        only=["noise"], strength=0.5, fidelity=0.25, color_fix=True, max_passes=2, steps=4, seed=2**60, format="webp",
        quality=50, metadata=False, deadline_s=600.0, lane="bulk",
    )  # fmt: skip
    result = connect(service.url).restore(picture(), **options, prompt=None)
    params, lane = result.job.raw["params"], result.job.raw["lane"]
    deadline = options.pop("deadline_s")
    assert deadline and lane == options.pop("lane")
    assert {name: params[name] for name in options} == options
    assert result.format == "webp"
    prompt = 'gräßlich "quoted"\r\n--boundary 雨'
    assert connect(service.url).restore(picture(), prompt=prompt).job.raw["params"]["prompt"] == prompt


def test_a_call_that_waits_is_interactive_and_a_submitted_job_is_not(connect, service, worker, picture):
    client = connect(service.url)
    assert client.restore(picture()).job.raw["lane"] == "interactive"
    assert client.submit(picture()).view.raw["lane"] == "standard"


def test_a_job_is_submitted_watched_and_fetched(connect, service, worker, picture):
    job = connect(service.url).submit(picture())
    events = list(job.events())
    assert [event.type for event in events][:1] == ["queued"] and events[-1].type == "completed"
    assert len({event.id for event in events}) == len(events)
    assert is_red(job.wait(), (24, 16))
    later = list(job.events(after=events[-2].id))
    assert later == events[-1:]
    assert connect(service.url).job(job.id).status == "succeeded"


def test_a_wait_tells_each_event_and_returns_the_result(connect, service, toy, picture):
    job, told = connect(service.url).submit(picture()), []
    toy()
    assert is_red(job.wait(timeout_s=30, on_event=told.append), (24, 16))
    assert [event.type for event in told] == ["queued", "started", "detected", "step.progress", "completed"]
    assert [event.fraction for event in told if event.fraction is not None] == [0.5, 1.0]
    assert [event.id for event in told] == [event.id for event in job.events()]
    assert job.wait(on_event=lambda event: pytest.fail("it is over")).data


def test_a_wait_with_events_ends_at_its_deadline_and_leaves_the_job(connect, service, picture):
    job, told = connect(service.url).submit(picture()), []  # no worker is there
    with pytest.raises(DeadlineExceeded) as late:
        job.wait(timeout_s=1.5, on_event=told.append)
    assert late.value.job_id == job.id and [event.type for event in told] == ["queued"]


def test_a_job_is_canceled_and_a_finished_one_deleted(connect, service, toy, picture):
    client = connect(service.url)
    job = client.submit(picture())  # no worker is there
    assert job.cancel() is True
    with pytest.raises(Canceled) as canceled:
        job.wait()
    assert canceled.value.job_id == job.id
    toy()
    done = client.submit(picture())
    done.wait()
    assert done.cancel() is False
    with pytest.raises(NotFound):
        done.refresh()


def test_a_detection_names_the_degradations(connect, service, worker, picture):
    found = connect(service.url).detect(picture())
    assert (found.label, found.degradations["blur"]) == ("noise", 0.2)


def test_the_deadline_of_a_call_leaves_the_job_to_be_fetched(connect, service, toy, picture):
    client = connect(service.url)
    with pytest.raises(DeadlineExceeded, match="continues") as late:
        client.restore(picture(), timeout_s=0.4)
    assert isinstance(late.value, TimeoutError)
    toy()
    assert is_red(client.job(late.value.job_id).wait(), (24, 16))


@pytest.mark.parametrize(("code", "kind"), [
    ("bad-image", DamagedImage), ("out-of-memory", JobFailed), ("a-code-of-tomorrow", JobFailed),
])  # fmt: skip
def test_a_failed_job_raises_its_own_error(connect, service, toy, picture, code, kind):
    toy(failure=Failure(code=code, detail="the pixels are damaged", hint="send another file"))
    with pytest.raises(kind, match=rf"the pixels are damaged \({code}\). Send another file") as failed:
        connect(service.url).restore(picture())
    assert failed.value.code == code and failed.value.job_id


def test_refusals_have_their_class_code_hint_and_request_id(connect, serve, worker, picture):
    client = connect(serve(max_bytes=100_000, max_megapixels=0.001).url)
    with pytest.raises(InvalidImage) as refused:
        client.restore(b"not an image")
    error = refused.value
    assert (error.code, error.status) == ("not-an-image", 415) and len(error.request_id) >= 8
    with pytest.raises(ImageTooLarge, match="too-many-pixels"):
        client.restore(picture("png", (64, 64)))
    with pytest.raises(InvalidRequest, match="strenght") as unknown:
        client.restore(picture(), strenght=1)
    assert unknown.value.errors[0]["field"] == "strenght"
    with pytest.raises(NotFound):
        client.job("nothing")


def test_a_prompt_that_is_refused_says_what_can_be_done(connect, service, toy, picture):
    assert toy(repairs=("noise", "rain"), prompts="words").announced.wait(20)
    client = connect(service.url)
    with pytest.raises(PromptNotUnderstood) as refused:
        client.restore(picture(), prompt="entferne den Schatten")
    assert (refused.value.can, refused.value.cannot) == (["noise", "rain"], ["shadow"])
    assert isinstance(refused.value, InvalidRequest) and "Name one of" in str(refused.value)
    job = client.restore(picture(), prompt="entferne den Schatten", best_effort=True).job
    assert job.raw["params"]["best_effort"] is True


def test_a_key_is_sent_and_a_wrong_one_is_an_error(connect, serve, worker, picture, monkeypatch):
    url = serve(auth="on").url
    with pytest.raises(AuthenticationError):
        connect(url).restore(picture())
    monkeypatch.setenv("UNDEGRADE_API_KEY", "udg_wrong")
    with pytest.raises(AuthenticationError):
        connect(url).limits()


def test_a_file_that_is_not_there_is_an_error_before_any_request(connect, tmp_path):
    client = connect("http://127.0.0.1:9")
    for wrong in (tmp_path / "no.jpg", b"", 5, np.zeros((4, 4)), io.StringIO("text")):
        with pytest.raises(InputError):
            client.restore(wrong)


def test_a_server_that_is_not_there_is_an_error_at_the_deadline(connect, clock):
    with pytest.raises(ConnectionFailed, match=r"GET http://127\.0\.0\.1:9/limits"):
        connect("http://127.0.0.1:9", timeout_s=30, clock=clock).limits()
    assert len(clock.slept) > 3 and sum(clock.slept) <= 30


def test_another_server_than_undegrade_is_an_error(connect, faulty, clock):
    faulty.hurt(["html"])
    with pytest.raises(UnexpectedAnswer, match="Is the URL"):
        connect(faulty.url, clock=clock).limits()
