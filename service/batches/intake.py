"""Takes in a batch: each image becomes a job as soon as it has arrived, or a problem of its own."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import structlog
from fastapi import Request
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.batches import BatchEntry
from jobs.end_tasks import end_tasks
from jobs.errors import BatchWithdrawn, ClaimTaken, StoreError, StoreFull
from jobs.hooks import Hooks
from service.authentication import Caller
from service.batches.refusals import BatchTooLarge
from service.busy_refusals import RedisUnavailable, StorageFull
from service.desk import Desk
from service.idempotency.attempt import Attempt
from service.image_fetch import ImageFetch
from service.job_ids import new_job_id
from service.known_degradations import check_degradations
from service.output_size import check_output
from service.problems import problem_of
from service.refusals import Refusal
from service.request_log import request_id
from service.request_options import Options, invalid_field, read_options
from service.routes.dependencies import path_prefix
from service.sources import Source
from service.upload import Parcel, checked_image
from service.webhooks.acceptance import accepted_hooks

log = structlog.get_logger()
MAX_NAME_CHARACTERS = 255
HOLD_S = redis_keys.OPEN_BATCH_MS / 1000 / 6
BUSY = (429, 503, 507)
"""The service is full, whatever the image."""


class Intake:
    """One request for a batch, image by image.

    Attributes:
        dry: an earlier request had this Idempotency-Key: nothing is queued before it is known whether it was the same.
    """

    def __init__(
        self, request: Request, desk: Desk, images: ImageFetch, caller: Caller, attempt: Attempt, dry: bool
    ) -> None:
        self.desk, self.images, self.caller, self.attempt, self.dry = desk, images, caller, attempt, dry
        self._request_id, self._prefix = request_id(request.scope), path_prefix(request)
        self._hooks: Hooks | None = None
        self.id = new_job_id(shard=desk.queue.place(attempt.named_claim))
        self.options: Options | None = None
        self._fields: Mapping[str, Any] = {}
        self._entries: list[BatchEntry] = []
        self._queued = self._began = False
        self._busy: Refusal | None = None
        self._digest = hashlib.sha256()

    async def begin(self, texts: Mapping[str, Any], json_fields: Mapping[str, Any] | None = None) -> None:
        """Read the options of all images.

        Raises:
            InvalidRequest: a field is unknown or out of range, or makes no sense for a batch.
        """
        options = read_options("restore", texts, json_fields)
        if not options.store:
            raise invalid_field("store", "false needs a request that waits, and a batch does not; use POST /restore")
        if options.hooks.get("result_url"):
            raise invalid_field("result_url", "makes no sense for several images; fetch results.zip instead")
        settings, redis = self.desk.settings, self.desk.queue.keys
        self._hooks = await accepted_hooks(options.hooks, settings, redis, self.caller.owner, self._prefix)
        await check_degradations(self.desk.queue, options.bundle or self.desk.settings.bundle, options)
        self._fields = {**texts, **(json_fields or {})}
        self.options = replace(options, lane=options.lane or "bulk")

    async def add(self, source: Source | Refusal, name: str | None) -> None:
        """Queue an image; one that is refused becomes a problem of the batch.

        Raises:
            BatchTooLarge: the batch has too many images.
        """
        limit = self.desk.settings.max_batch_images
        if len(self._entries) >= limit:
            raise BatchTooLarge(f"the batch has more than {limit} images, the limit")
        name = _storable(name)[:MAX_NAME_CHARACTERS] if name else None
        data = source.data if isinstance(source, Source) else None
        self._digest.update(
            hashlib.sha256(data or _storable(repr(source)).encode()).digest() + (name or "").encode() + b"\0"
        )
        if self.dry:
            self._entries.append(BatchEntry(name=name))
            return
        try:
            self._entries.append(BatchEntry(name=name, job=await self._queue(source, name)))
            self._queued = True
        except StoreFull as error:
            self._refuse(StorageFull(str(error)), name)
        except Refusal as refusal:
            self._refuse(refusal, name)

    async def _queue(self, source: Source | Refusal, name: str | None) -> str:
        if isinstance(source, Refusal):
            raise source
        assert self.options, "begin comes first"
        header = None if source.data is None else await checked_image(source.data, self.desk.settings)
        parcel = Parcel(kind="restore", source=source, header=header, options=self.options, fields={})
        upload = await self.images.opened(parcel, self.caller)
        await check_output(upload.data, upload.header, upload.options.controls, self.desk.settings.max_megapixels)
        upload = replace(upload, file_name=name or upload.file_name, batch=self.id, hooks=self._hooks)
        self._began = True
        return (await self.desk.submit(upload, self.caller, 0)).record.spec.id

    def _refuse(self, refusal: Refusal, name: str | None) -> None:
        if refusal.status in BUSY and self._busy is None:
            self._busy = refusal
        text = json.dumps(problem_of(refusal, self._request_id).model_dump(mode="json"), ensure_ascii=False)
        problem = json.loads(_storable(text))
        self._entries.append(BatchEntry(name=name, problem=problem))

    async def finish(self) -> str:
        """Make the batch, and return its id: that of the batch which the same request made before, if it did.

        Raises:
            InvalidRequest: there is no image.
            Refusal: the service is so full that no image became a job.
            IdempotencyKeyReused: another request has used the key.
            RedisUnavailable: the request stood still, or Redis was away, until it counted as broken off.
        """
        if not self._entries:
            raise invalid_field("image", "expected at least one image: -F image=@a.jpg -F image=@b.jpg")
        if self._busy is not None and not self._queued:
            raise self._busy
        if made := await self.attempt.repeats(self._fields, self._digest.hexdigest()):
            await self.withdraw()
            return made
        if self.dry:  # the key was forgotten this very moment, and the images were not kept
            raise RedisUnavailable("the Idempotency-Key has just expired", headers={"Retry-After": "1"})
        keep_s = self.desk.settings.keep_s
        try:
            await self.desk.queue.batches.seal(self.id, self.caller.owner, self._entries, keep_s, self.attempt.claim)
        except ClaimTaken as earlier:
            made = self.attempt.made_by(earlier)
            await self.withdraw()
            return made
        except BatchWithdrawn as error:
            raise RedisUnavailable(str(error), headers={"Retry-After": "1"}) from error
        return self.id

    async def withdraw(self) -> None:
        """Remove every job of the batch: the request was refused, broke off, or repeats another.

        A batch that is made stays, although its request may not know it: a repeated one finds it.  What cannot be
        removed now, the housekeeping removes a minute later, as where this process dies.
        """
        if self._began:
            with suppress(RedisError, StoreError):
                await self.desk.eraser.withdraw(self.id)

    @asynccontextmanager
    async def held_open(self) -> AsyncIterator[None]:
        """Hold the batch open during this block, however slowly the client sends; withdraw it after an error."""
        holding = asyncio.create_task(self._hold())
        try:
            yield
        except BaseException:  # also where the client breaks off
            await self.withdraw()
            raise
        finally:
            await end_tasks(holding)

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(HOLD_S)
            with suppress(RedisError, OSError):
                await self.desk.queue.batches.hold(self.id)


def _storable(text: str) -> str:
    """Return a text without half surrogate pairs, which JSON may contain and UTF-8 may not."""
    return text.encode("utf-8", "replace").decode()
