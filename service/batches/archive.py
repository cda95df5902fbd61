"""A zip file of the results of a batch, written while they come.  It holds one result at a time, whatever its size."""

import asyncio
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator

import structlog
from redis.exceptions import RedisError

from jobs.backoff import Backoff
from jobs.batches import Batch, BatchItem
from jobs.errors import NewerSpec, StoreError
from jobs.state import State
from service.batches.view import item_body
from service.batches.watch import ends
from service.batches.zip_names import ZipNames
from service.desk import Desk
from service.picture import FILE_ENDINGS
from service.refusals import Gone

log = structlog.get_logger()
ERRORS_NAME = "errors.json"
TRIES = 8


class _Window(io.RawIOBase):
    """A file of which only the end is held: what `take` has returned cannot be changed any more.

    `zipfile` can go back to the header of the entry that it has just written.  So entries need no data descriptors,
    which some programs cannot read in a stream.
    """

    def __init__(self) -> None:
        self._held, self._before = io.BytesIO(), 0

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._before + self._held.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._before:
            raise io.UnsupportedOperation("only what is held")
        return self._before + self._held.seek(offset - self._before)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._held.write(data)

    def take(self) -> bytes:
        data = self._held.getvalue()
        self._before += len(data)
        self._held = io.BytesIO()
        return data


class ResultArchive:
    """Writes the results of one batch."""

    def __init__(self, desk: Desk, prefix: str) -> None:
        self.desk, self.prefix = desk, prefix
        self._window, self._names = _Window(), ZipNames()
        self._zip = zipfile.ZipFile(self._window, "w", zipfile.ZIP_STORED)
        self._errors: list[dict[str, object]] = []

    async def stream(self, batch: Batch, in_order: bool, wait: bool) -> AsyncIterator[bytes]:
        """Yield the zip file.

        Args:
            in_order: in the order of the request, not in that of the ends.
            wait: for those that have not ended; otherwise they stand among the errors.
        """
        async for item in self._items(batch, in_order, wait):
            async for entry in self._entries(item):
                yield entry
        if self._errors:
            self._errors.sort(key=lambda error: int(str(error["index"])))
            yield await self._add(ERRORS_NAME, json.dumps(self._errors, indent=2, ensure_ascii=False).encode())
        self._zip.close()
        yield self._window.take()

    async def _items(self, batch: Batch, in_order: bool, wait: bool) -> AsyncIterator[BatchItem]:
        if not wait:
            for item in batch.items if in_order else sorted(batch.items, key=lambda item: item.place):
                yield item
            return
        ended: dict[int, BatchItem] = {}
        following = 1
        async for _, new in ends(self.desk, batch):
            if not in_order:
                for item in new:
                    yield item
                continue
            ended |= {item.index: item for item in new}
            while following in ended:
                yield ended.pop(following)
                following += 1

    async def _entries(self, item: BatchItem) -> AsyncIterator[bytes]:
        if item.state is not State.SUCCEEDED or item.entry.job is None:
            self._note(item, "not-finished" if item.ended_ms is None else item.state.value if item.state else "gone")
            return
        try:
            variant, count = 1, 1
            while variant <= count:
                data, format, count = await self._result(item.entry.job, variant)
                ending, number = FILE_ENDINGS.get(format, format), variant if count > 1 else None
                yield await self._add(self._names.name(item.index, item.entry.name, ending, number), data)
                variant += 1
        except (Gone, NewerSpec) as error:
            self._note(item, "gone", str(error))

    async def _result(self, job: str, variant: int) -> tuple[bytes, str, int]:
        """Return a result, its format, and how many there are.

        An outage shorter than the client's patience does not end the file.
        """
        pauses = Backoff()
        for attempt in range(TRIES):
            try:
                record = await self.desk.queue.record(job)
                results = record.outcome.results if record else ()
                if variant > len(results):
                    raise Gone(f"the result of job {job} was deleted")
                data = await self.desk.images.read(results[variant - 1].blob, f"the result of job {job}")
                return data, results[variant - 1].format, len(results)
            except (RedisError, StoreError) as error:
                log.warning("result.away", job=job, error=type(error).__name__)
                if attempt + 1 == TRIES:
                    raise
                await asyncio.sleep(pauses.next_s())
        raise AssertionError("unreachable")

    def _note(self, item: BatchItem, code: str, detail: str = "") -> None:
        body = item_body(item, self.prefix).model_dump(exclude={"result_url"})
        error = body.pop("error") or {"code": code, "detail": detail or f"the job is {body['status']}", "hint": ""}
        self._errors.append({**body, "error": error})

    async def _add(self, name: str, data: bytes) -> bytes:
        info = zipfile.ZipInfo(name, date_time=time.gmtime()[:6])
        info.external_attr = 0o644 << 16
        await asyncio.to_thread(self._zip.writestr, info, data)  # the checksum of a large image takes a while
        return self._window.take()
