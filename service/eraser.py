"""Erases what users delete: records, events, images, prompts, and the file in which an embedded Valkey keeps them."""

import asyncio

import structlog

from jobs.blob_store import BlobStore
from jobs.errors import SpecError
from jobs.job_log import log_end_of
from jobs.queue import Queue
from jobs.record import JobRecord
from jobs.state import State
from service.file_rewrite import FileRewrite

log = structlog.get_logger()
WITHDRAWAL_ROUNDS = 3
"""The last one finds no job; what an API process adds meanwhile, the next housekeeping removes."""
CANCELED_WITHIN_S = 5.0
"""A running job ends within this after its cancellation."""


class Eraser:
    """`rewrite` is None where the Redis server is not ours."""

    def __init__(self, queue: Queue, store: BlobStore, keep_s: int, rewrite: FileRewrite | None) -> None:
        self.queue, self.store, self.keep_s, self.rewrite = queue, store, keep_s, rewrite

    async def delete(self, record: JobRecord) -> State | None:
        """Cancel a job, or delete a finished job; return the state that it was in.

        Both erase the job's images and its prompt: a queued job's now, a running job's when its worker lets it go.
        """
        job_id, names = record.spec.id, await self._blob_names(record)
        before = record.state if record.state.over else await self.queue.cancel(job_id, self.keep_s, record.spec)
        if before is State.QUEUED:
            log_end_of(record, State.CANCELED)
            await self.store.delete(*names)
        elif before is not None and before.over:
            latest = await self.queue.record(job_id) or record
            await self.store.delete(*await self._blob_names(latest))
            await self.queue.forget(job_id)
        self.rewrite_file(again=before is State.RUNNING)
        return before

    async def erase(self, job_id: str) -> None:
        """Remove every trace of a job, whatever its state.  Its worker lets it go when it next renews the lease."""
        try:
            record = await self.queue.record(job_id)
        except SpecError:  # a later version has written it; the store knows its images, too
            record = None
        names = await (self._blob_names(record) if record else self.store.names_of_job(job_id))
        await self.queue.forget(job_id)
        await self.store.delete(*names)
        self.rewrite_file()

    async def withdraw(self, batch_id: str, *, broken: bool = False) -> None:
        """Remove a batch that was not made, with all that its request has queued; one that is made stays.

        Args:
            broken: only where its request counts as broken off (jobs.batches.Batches.broken_off).
        """
        count = 0
        for _ in range(WITHDRAWAL_ROUNDS):
            jobs = await self.queue.batches.withdraw(batch_id, broken=broken)
            for job_id in jobs:
                await self.erase(job_id)
            count += len(jobs)
            if not jobs:
                break
        if count:
            log.warning("batch.withdrawn", batch=batch_id, jobs=count, broken_off=broken)

    def rewrite_file(self, again: bool = False) -> None:
        """Have an embedded Valkey write its file without what was deleted.  `again`: images go later, too."""
        if self.rewrite is not None:
            self.rewrite.request()
            if again:  # the job's images go later
                asyncio.get_running_loop().call_later(CANCELED_WITHIN_S, self.rewrite.request)

    async def _blob_names(self, record: JobRecord) -> list[str]:
        """Return all blob names of a job: those in its record, and those that only the store knows."""
        source, outcome = record.spec.source, record.outcome
        names = [source.blob] if source else []
        names += [entry.blob for entry in outcome.passes if entry.blob]
        names += [outcome.result.blob] if outcome.result else []
        names += [variant.result.blob for variant in outcome.variants]
        return list(dict.fromkeys([*names, *await self.store.names_of_job(record.spec.id)]))

    async def close(self) -> None:
        """Finish what was put off."""
        if self.rewrite is not None:
            await self.rewrite.close()
