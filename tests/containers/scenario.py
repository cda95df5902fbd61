"""What a client of the published port sees: a restored photo, and jobs that survive the death of a worker."""

import io
import time
from collections.abc import Callable

import httpx
from machine import ROOT, report
from PIL import Image, ImageChops

PHOTO = ROOT / "examples" / "raccoon-noisy.jpg"
LONG = {"prompt": "remove the blur", "steps": "40", "seed": "7", "format": "png"}
"""Diffusion, for which no specialist is quicker: seconds of work, in which a worker can be killed."""
START_S, JOB_S, POLL_S = 600, 300, 0.5


def crop(index: int) -> bytes:
    """Returns a small PNG cut from the sample photo."""
    with Image.open(PHOTO) as photo:
        part = photo.convert("RGB").crop((20 * index, 10 * index, 20 * index + 96, 10 * index + 96))
    data = io.BytesIO()
    part.save(data, "PNG")
    return data.getvalue()


class Client:
    """Talks to one API with a key."""

    def __init__(self, url: str, key: str = "") -> None:
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=JOB_S, trust_env=False
        )

    def until_ready(self) -> float:
        """Wait until a photo can be restored.  Returns the seconds."""
        return self._until(lambda: self.http.get("/readyz").status_code == 200, "the service is not ready")

    def submit(self, photo: bytes, **fields: str) -> str:
        """Queue a job.  Returns its id."""
        answer = self.http.post("/restore", files={"image": photo}, data=fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def state(self, job: str) -> str:
        """Returns the state of a job; "unknown" while the service is busy or Redis is away."""
        answer = self.http.get(f"/jobs/{job}")
        if answer.status_code == 503:
            return "unknown"
        return str(answer.raise_for_status().json()["status"])

    def until_running(self, job: str) -> None:
        """Wait until a worker computes the job: its first denoising step is done."""
        self._until(lambda: self.state(job) == "running", f"{job} does not run")
        with self.http.stream("GET", f"/jobs/{job}/events") as events:
            assert any("step.progress" in line for line in events.iter_lines())

    def result(self, job: str) -> bytes:
        """Wait for the end of the job.  Returns its picture."""
        self._until(lambda: self.state(job) not in ("queued", "running", "unknown"), f"{job} does not end")
        record = self.http.get(f"/jobs/{job}").json()
        assert record["status"] == "succeeded", record
        return self.http.get(f"/jobs/{job}/result").raise_for_status().content

    def completions(self, job: str) -> int:
        """Returns how often the job was completed, by its events."""
        lines = self.http.get(f"/jobs/{job}/events").text.splitlines()
        return sum(line == "event: completed" for line in lines)

    def _until(self, condition: Callable[[], bool], trouble: str) -> float:
        start_s = time.monotonic()
        while True:
            try:
                if condition():
                    return time.monotonic() - start_s
            except httpx.TransportError as error:
                trouble_now = f"{trouble}: {error}"
            else:
                trouble_now = trouble
            assert time.monotonic() - start_s < START_S, trouble_now
            time.sleep(POLL_S)


def check_strangers_are_refused(url: str) -> None:
    """Without a key nothing is restored."""
    answer = Client(url).http.post("/restore", files={"image": crop(0)})
    assert answer.status_code == 401, answer.text


def check_restoration(client: Client) -> float:
    """Restore a photo in one request, as curl does.  Returns the seconds."""
    start_s = time.monotonic()
    answer = client.http.post("/restore", files={"image": PHOTO.read_bytes()}, headers={"Accept": "image/*"})
    assert answer.status_code == 200, answer.text
    seconds = time.monotonic() - start_s
    with Image.open(io.BytesIO(answer.content)) as restored, Image.open(PHOTO) as photo:
        assert restored.size == photo.size
        assert ImageChops.difference(restored.convert("RGB"), photo.convert("RGB")).getbbox() is not None
    report(f"restored a photo of {photo.size[0]} x {photo.size[1]} px in {seconds:.1f} s, one request")
    return seconds


def check_killed_worker(client: Client, kill: Callable[[], None], replace: Callable[[], None], jobs: int = 2) -> float:
    """Kill the worker in the middle of a job: every job still completes, once, with the same picture as without it.

    Returns the seconds from the kill to the last result.
    """
    expected = [client.result(client.submit(crop(index), **LONG)) for index in range(jobs)]
    queued = [client.submit(crop(index), **LONG) for index in range(jobs)]
    client.until_running(queued[0])
    kill()
    start_s = time.monotonic()
    assert client.state(queued[-1]) != "succeeded", "the jobs ended before the worker was killed"
    replace()
    for job, picture in zip(queued, expected, strict=True):
        assert client.result(job) == picture, f"{job} has another picture after the death of its worker"
        assert client.completions(job) == 1
    seconds = time.monotonic() - start_s
    report(
        f"killed the worker in a job: {jobs} of {jobs} jobs completed, once each, same pixels, {seconds:.0f} s later"
    )
    return seconds
