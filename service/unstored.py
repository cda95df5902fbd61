"""`store: false`: nothing of a job stays after its answer (docs/decisions/0039).

The request that waits erases the job when it has the answer, or gives up.  Should its process die before, the job is
forgotten by any other process UNSTORED_S after its submission, or UNSTORED_KEEP_S after its end.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
from redis.exceptions import RedisError

from jobs.errors import StoreError
from jobs.record import JobRecord
from service.busy_refusals import WaitOver
from service.desk import Desk
from service.request_options import invalid_field
from service.upload import Parcel, Upload

log = structlog.get_logger()


def check_unstored(parcel: Parcel, wait_s: float, as_image: bool) -> None:
    """Refuse a request whose answer would be lost.

    Raises:
        InvalidRequest: it does not wait, its answer would not contain the image, or the image is stored already.
    """
    if wait_s <= 0:
        raise invalid_field("store", "false needs a request that waits: send Accept: image/* or Prefer: wait=N")
    if parcel.kind == "restore" and not as_image:
        raise invalid_field(
            "store", "false leaves no image to fetch later: send Accept: image/* to have it in the answer"
        )
    for name in ("webhook_url", "result_url"):
        if parcel.options.hooks.get(name):
            raise invalid_field(name, "contradicts store=false: a delivery is kept until it has arrived")
    if parcel.source.upload is not None:
        raise invalid_field("upload", "contradicts store=false, because an upload is stored; send the image itself")


def ending_in(upload: Upload, wait_s: float) -> Upload:
    """Return the upload; a job of which nothing may stay does not begin when nobody waits any more."""
    options = upload.options
    if options.store:
        return upload
    return replace(upload, options=replace(options, deadline_s=min(options.deadline_s or wait_s, wait_s)))


@asynccontextmanager
async def leaving_nothing(desk: Desk, record: JobRecord) -> AsyncIterator[None]:
    """Erase the job after this block, if it must not be stored.

    Raises:
        WaitOver: it must not be stored, and has not ended.
    """
    if record.spec.store:
        yield
        return
    try:
        if not record.state.over:
            hint = "nothing of it was kept; send it again with a longer wait, or leave store out"
            raise WaitOver("the job did not end during the wait", hint=hint, headers={"Retry-After": "5"})
        yield
    finally:
        try:
            await desk.eraser.erase(record.spec.id)
        except (RedisError, StoreError) as error:  # other processes forget it soon
            log.warning("job.not-erased", job=record.spec.id, error=type(error).__name__)
