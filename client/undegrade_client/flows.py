"""The operations of the client, as flows: submit, wait, restore, detect, cancel, fetch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from undegrade_client.codes import job_failure
from undegrade_client.errors import DeadlineExceeded, QuotaError, UndegradeError
from undegrade_client.exchange import Deadline, Flow, Request, Response, Sleep
from undegrade_client.images import Image, Picture, read_image
from undegrade_client.options import given, multipart
from undegrade_client.retries import FINAL_CODES, WAITS_USED_UP, json_object, send
from undegrade_client.settings import Settings
from undegrade_client.uploads import DirectUploads
from undegrade_client.views import Detection, JobView, Result, job_view, result_of, variant_rows

POLL_S = 2.0
"""Between looks at a job, where the long polls of this key are used up."""
SENT_AGAIN_BYTES = 2_000_000
CANCEL_S = 5.0
"""How long an interrupted call tries to cancel its job."""
Submitted = Callable[[str], None]


class Flows:
    """All operations on one server.  Each method returns a flow, or a plain value where no network is needed."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._now = settings, now
        self._uploads = DirectUploads(settings)

    def deadline(self, timeout_s: float | None) -> Deadline:
        """Return the deadline of a call; 0 or None means the client's own."""
        return Deadline(timeout_s or self.settings.timeout_s, self._now)

    def submit(
        self, kind: str, image: Image, options: Mapping[str, Any], deadline: Deadline, key: str | None = None
    ) -> Flow[JobView]:
        """Queue a job and return it, without waiting for its end."""
        return (yield from self._submit(kind, read_image(image), options, deadline, key or uuid.uuid4().hex))

    def _submit(
        self, kind: str, picture: Picture, options: Mapping[str, Any], deadline: Deadline, key: str
    ) -> Flow[JobView]:
        fields = given(options)
        body, content_type = yield from self._body(picture, fields, deadline, key)
        headers = {"Idempotency-Key": key, "Content-Type": content_type, "Prefer": "respond-async"}
        request = Request("POST", f"/{kind}", headers, body=body, timeout_s=self.settings.silence_s)
        body_json = json_object((yield from send(self.settings, request, deadline)))
        if "status" not in body_json:  # a detection that was over at once
            body_json = {**body_json, "kind": "detect", "status": "succeeded"}
        return job_view(body_json)

    def _body(self, picture: Picture, fields: dict[str, Any], deadline: Deadline, key: str) -> Flow[tuple[bytes, str]]:
        """Return the body and its type: a form with the image, or JSON that names where the image is."""
        if picture.url is not None:
            return json.dumps({**fields, "image_url": picture.url}).encode(), "application/json"
        if len(picture.data) >= self.settings.large_bytes:
            place = yield from self._uploads.send(picture.data, deadline, key)
            if place is not None:
                return json.dumps({**fields, "upload": place}).encode(), "application/json"
        boundary = uuid.uuid4().hex
        return multipart(fields, picture.data, boundary), f"multipart/form-data; boundary={boundary}"

    def look(self, job_id: str, deadline: Deadline, wait_s: float = 0.0) -> Flow[JobView]:
        """Return the job as it is now, or at its end if that comes within `wait_s`."""
        params = {"wait": f"{wait_s:.3g}"} if wait_s else {}
        request = Request("GET", f"/jobs/{job_id}", params=params, timeout_s=wait_s + self.settings.silence_s / 4)
        final = FINAL_CODES | {WAITS_USED_UP} if wait_s else FINAL_CODES
        response = yield from send(self.settings, request, deadline, job_id=job_id, final_codes=final)
        return job_view(json_object(response))

    def wait(self, job_id: str, deadline: Deadline) -> Flow[JobView]:
        """Return the job when it is over.

        Raises:
            DeadlineExceeded: it is not over at the deadline.
        """
        polling = False
        while True:
            wait_s = 0.0 if polling else self._wait_s(deadline)
            try:
                job = yield from self.look(job_id, deadline, wait_s)
            except QuotaError as error:
                if polling or error.code != WAITS_USED_UP:
                    raise
                polling = True
                continue
            if job.over:
                return job
            left_s = deadline.left_s()
            if left_s <= 0:
                raise DeadlineExceeded(
                    f"job {job_id} is still {job.status} at the deadline; it continues on the server", job_id
                )
            if not wait_s:
                yield Sleep(min(POLL_S, left_s))

    def _wait_s(self, deadline: Deadline) -> float:
        """Return the wait of the next request; a moment of the time left is for its answer."""
        left_s = deadline.left_s()
        return max(0.1, min(self.settings.wait_s, left_s - 0.5 if left_s > 2 else left_s / 2))

    def result(self, job: JobView, deadline: Deadline, source: object = None) -> Flow[Result]:
        """Return the result of a job that is over, with its image checked against the server's hash.

        Raises:
            JobFailed, Canceled: it has none.
        """
        if job.status != "succeeded":
            raise job_failure(job.id, job.status, job.error)
        images: list[bytes] = []
        for number, row in enumerate(variant_rows(job), 1):
            images.append((yield from self._image(job.id, number, row.get("result") or {}, deadline)))
        return result_of(job, images, source)

    def _image(self, job_id: str, variant: int, stored: Mapping[str, Any], deadline: Deadline) -> Flow[bytes]:
        """Return the image of one variant, from 1, checked against the hash that the job has."""

        def damaged(response: Response) -> str | None:
            as_stored = stored.get("sha256") in (None, hashlib.sha256(response.body).hexdigest())
            return None if as_stored else f"the image arrived damaged, with {len(response.body):,} bytes"

        headers = {"Accept": "image/*, application/json;q=0.1"}
        params = {"variant": str(variant)} if variant > 1 else {}
        request = Request("GET", f"/jobs/{job_id}/result", headers, params, timeout_s=self.settings.silence_s)
        response = yield from send(self.settings, request, deadline, job_id=job_id, check=damaged)
        return response.body

    def restore(
        self, image: Image, options: Mapping[str, Any], deadline: Deadline, key: str | None = None,
        submitted: Submitted = lambda job_id: None,
    ) -> Flow[Result]:  # fmt: skip
        """Queue a job, wait for its end and return its result.

        Whoever interrupts it cancels the job, because nobody could fetch its result.
        """
        picture, fields, key = read_image(image), {"lane": "interactive", **options}, key or uuid.uuid4().hex
        job: JobView | None = None
        try:
            job = yield from self._submit("restore", picture, fields, deadline, key)
            submitted(job.id)
            job = yield from self.wait(job.id, deadline)
        except GeneratorExit:
            raise
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C, or a task that is canceled
                yield from self._take_back(picture, fields, key, job)
            raise
        return (yield from self.result(job, deadline, source=image))

    def _take_back(self, picture: Picture, fields: Mapping[str, Any], key: str, job: JobView | None) -> Flow[None]:
        """Cancel the job of an interrupted call.

        If the answer with its id is lost, the same request with the same key names it.  A large upload is not sent
        twice: while it was under way, there was no job.
        """
        if job is None and len(picture.data) <= SENT_AGAIN_BYTES:
            try:
                job = yield from self._submit("restore", picture, fields, Deadline(CANCEL_S, self._now), key)
            except UndegradeError:
                return
        if job is not None:
            yield from self.cancel_quietly(job.id)

    def detect(self, image: Image, options: Mapping[str, Any], deadline: Deadline) -> Flow[Detection]:
        """Queue a detection and return what it found."""
        job = yield from self.submit("detect", image, {"lane": "interactive", **options}, deadline)
        if not job.over:
            job = yield from self.wait(job.id, deadline)
        if job.status != "succeeded":
            raise job_failure(job.id, job.status, job.error)
        return Detection(job_id=job.id, degradations=dict(job.degradations))

    def cancel(self, job_id: str, deadline: Deadline) -> Flow[bool]:
        """Cancel a job and erase its images.  Return False where it was over before, and is deleted now."""
        response = yield from send(self.settings, Request("DELETE", f"/jobs/{job_id}"), deadline, job_id=job_id)
        return response.status != 204

    def cancel_quietly(self, job_id: str) -> Flow[None]:
        """Cancel a job if the server answers soon; what goes wrong hides no other error."""
        with contextlib.suppress(UndegradeError):
            yield from self.cancel(job_id, Deadline(CANCEL_S, self._now))

    def get(self, path: str, deadline: Deadline) -> Flow[dict[str, Any]]:
        """Return the JSON object at a path, such as /limits."""
        return json_object((yield from send(self.settings, Request("GET", path), deadline)))
