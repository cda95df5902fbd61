"""Uploads straight into the store: the client PUTs an image to a URL of the store, and names it in a later request.

Only S3 gives such URLs.  An upload belongs to the API key that opened it, may be used for several requests, and ends
after an hour; the sweep of the store deletes it then, also where nothing has arrived or nobody has used it.  Each use
reads the image, checks it as any other, and stores a copy for the job: what the client writes later changes no job.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from jobs.blob_store import ServedStore
from jobs.claims import Claim
from jobs.errors import BlobMissing
from jobs.uploads import UPLOAD_TTL_S, UploadRecord, UploadRegistry, upload_blob
from service.authentication import Caller
from service.image_header import check_bytes
from service.job_ids import created_ms, new_job_id
from service.refusals import Gone, NotFound, Refusal
from service.settings import ServiceSettings

PUT_S = 900
"""How long an image may be PUT.  What arrives in this time is there before the sweep at the end of the upload."""


class UploadsUnavailable(Refusal):
    """The store of this service takes no uploads from clients."""

    status, code = HTTPStatus.CONFLICT, "uploads-unavailable"
    hint = "send the image itself to POST /restore; `uploads` of GET /limits says whether this service takes uploads"


class NoSuchUpload(NotFound):
    """The upload does not exist, or belongs to another key."""

    code = "no-such-upload"
    hint = "POST /uploads opens an upload"


class UploadNotReceived(Refusal):
    """Nothing has been PUT to the URL of the upload yet."""

    status, code = HTTPStatus.CONFLICT, "upload-not-received"
    hint = "PUT the image to the `url` of the upload, and send this request again when that has succeeded"


@dataclass(frozen=True)
class OpenUpload:
    """An open upload.  Times are seconds since 1970."""

    id: str
    url: str
    put_until_s: float
    expires_s: float


class DirectUploads:
    """Opens and reads uploads.  `place` returns the shard of a new one."""

    def __init__(
        self, settings: ServiceSettings, registry: UploadRegistry, store: ServedStore,
        place: Callable[[Claim | None], int] = lambda claim: 0,
    ) -> None:  # fmt: skip
        self.settings, self.registry, self.store, self._place = settings, registry, store, place

    def check_available(self) -> None:
        """Raise UploadsUnavailable where the store gives no URLs."""
        if not self.store.signs:
            raise UploadsUnavailable(f"this service keeps its images in a {self.store.kind} store, which signs no URLs")

    async def open(self, caller: Caller, size: int | None, file_name: str | None, claim: Claim | None) -> OpenUpload:
        """Open an upload.

        Args:
            size: of the image in bytes, if the client knows it; the room of the largest image is kept otherwise.

        Raises:
            TooLarge, jobs.errors.StoreFull: there is no room for it.
            ClaimTaken: the same request has opened one before.
        """
        check_bytes(size or 0, self.settings.max_bytes)
        upload_id, now_s = new_job_id(shard=self._place(claim)), time.time()
        record = UploadRecord(owner=caller.owner, file_name=file_name, opened_s=now_s)
        await self.registry.open(upload_id, record, size or self.settings.max_bytes, claim)
        return await self._signed(upload_id, record)

    async def again(self, upload_id: str, caller: Caller) -> OpenUpload:
        """Return an upload that was opened before, with a new URL for the rest of its time.

        Raises:
            NoSuchUpload, Gone: as `read`.
        """
        return await self._signed(upload_id, await self._found(upload_id, caller))

    async def _signed(self, upload_id: str, record: UploadRecord) -> OpenUpload:
        put_until_s = record.opened_s + PUT_S
        left_s = max(1, int(put_until_s - time.time()))
        url = await self.store.presigned("PUT", upload_blob(upload_id), left_s)
        return OpenUpload(upload_id, url, put_until_s, record.opened_s + UPLOAD_TTL_S)

    async def read(self, upload_id: str, caller: Caller) -> tuple[bytes, str | None]:
        """Return the bytes of an upload, and the name of the client's file.

        Raises:
            NoSuchUpload: it does not exist, or belongs to another key.
            UploadNotReceived: nothing has arrived yet.
            Gone: its time is over.
            TooLarge: before a byte is read.  A URL of S3 cannot limit what is PUT.
        """
        record, blob = await self._found(upload_id, caller), upload_blob(upload_id)
        try:
            size = await self.store.size(blob)
            check_bytes(size, self.settings.max_bytes)
            # Only so many bytes as were checked: the client may replace the file while it is read
            return await self.store.get_range(blob, 0, size) if size else b"", record.file_name
        except BlobMissing as error:
            raise UploadNotReceived(f"upload {upload_id} has no image yet") from error

    async def _found(self, upload_id: str, caller: Caller) -> UploadRecord:
        record = await self.registry.find(upload_id)
        if record is None:
            opened_ms = created_ms(upload_id)
            if opened_ms is not None and 0 < opened_ms <= (time.time() - UPLOAD_TTL_S) * 1000:
                hint = "open a new one with POST /uploads"
                raise Gone(f"upload {upload_id} has ended: uploads are kept for {UPLOAD_TTL_S} s", hint=hint)
            raise NoSuchUpload(f"there is no upload {upload_id[:64]}")
        if not caller.may_see(record.owner):
            raise NoSuchUpload(f"there is no upload {upload_id}")
        return record
