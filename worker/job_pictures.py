"""Encodes and stores the pictures of one attempt of a job: its results, and the pictures after its passes."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from jobs import redis_keys
from jobs.blob_store import CARRIED_BYTES, Blob
from jobs.lease import Leased
from jobs.record import Outcome, Result
from models.errors import PhotoError, ProvenanceError
from models.photo.c2pa_manifest import Parent
from models.photo.codec_pool import CodecFailed, CodecOutOfMemory
from models.photo.marking import Marking
from models.photo.provenance import mark_of
from models.photo.read import Photo
from worker.job_end import OUT_OF_MEMORY_HINT, failed
from worker.job_services import JobServices
from worker.messages import Pixels
from worker.patient_store import PatientStore

BLOB_MARGIN_S = redis_keys.QUEUED_TTL_S // 100
"""A result outlives its record by this: a link in the record must work until the end."""


class JobPictures:
    """The pictures of an attempt.

    Attributes:
        stored: the names of all that was stored.
        carried: the result, where it is stored with the commit.
    """

    def __init__(
        self, leased: Leased, services: JobServices, store: PatientStore,
        timed: Callable[[str, Awaitable[Any]], Awaitable[Any]],
    ) -> None:  # fmt: skip
        self.leased, self.services, self.store, self._timed = leased, services, store, timed
        self.stored: list[str] = []
        self.carried: Blob | None = None
        self._parent: Parent | None = None

    def made_from(self, data: bytes, format: str) -> None:
        """Keep the input where results are signed: a manifest names it."""
        if self.services.provenance.signer is not None:
            self._parent = Parent(data=data, format=format)

    async def keep_pass(self, photo: Photo, pixels: Pixels, number: int) -> str:
        """Store the picture after a pass.  Returns the name of its blob."""
        data, _ = await self.services.codec.encode(photo, pixels, None, None, self.leased.spec.output.metadata)
        return await self._store(f"pass-{number}", data)

    async def keep_result(self, photo: Photo, outcome: Outcome, pixels: Pixels, number: int) -> Result:
        """Store the result of a variant, from 1; `outcome` is the engine's.

        Raises:
            Ended: it cannot be encoded, signed or stored.
        """
        output, codec = self.leased.spec.output, self.services.codec
        encoding = codec.encode(photo, pixels, output.format, output.quality, output.metadata, self._marking(outcome))
        try:
            data, kind = await self._timed("encode", encoding)
        except CodecOutOfMemory as error:
            raise failed("out-of-memory", str(error), OUT_OF_MEMORY_HINT) from error
        except ProvenanceError as error:
            raise failed("provenance", str(error), "operators: correct the certificate, or unset it") from error
        except (PhotoError, CodecFailed) as error:
            raise failed("encode", str(error), "ask for another format") from error
        name = "result" if number == 1 else f"result-{number}"
        blob = await self._timed("store", self._store(name, data, with_commit=number == 1, is_result=True))
        height, width = pixels.shape[:2]
        return Result(
            blob=blob, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), format=kind, width_px=width,
            height_px=height,
        )  # fmt: skip

    def _marking(self, outcome: Outcome) -> Marking | None:
        bundle, share = self.leased.spec.bundle, outcome.change.share if outcome.change else 1.0
        mark = mark_of(outcome.passes, share, bundle, self.services.version_of(bundle))
        return self.services.provenance.marking(mark, self._parent)

    async def _store(self, what: str, data: bytes, with_commit: bool = False, is_result: bool = False) -> str:
        """Store a picture now, or with the commit where it is small enough.  Returns its name.

        The name belongs to this attempt: a worker that lost its lease must not overwrite the next worker's picture.
        """
        spec, services = self.leased.spec, self.services
        name = f"{spec.id}/{what}-{services.token[-8:]}-{self.leased.attempts}"
        blob = Blob(name, data, spec.keep_s + BLOB_MARGIN_S)
        self.stored.append(name)
        if with_commit and services.store.beside_queue and len(data) <= CARRIED_BYTES:
            self.carried = blob
        elif is_result:
            await self.store.put(blob)
        else:  # a pass without its picture is better than a job that waits for the store
            await services.store.put(blob.name, blob.data, blob.ttl_s)
        return name
