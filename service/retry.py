"""Another try of a job that has ended: a new job with the same input and controls."""

from jobs.record import JobRecord
from service.authentication import Caller
from service.desk import Desk
from service.idempotency.attempt import Attempt
from service.image_header import ImageHeader
from service.refusals import Gone, NotFinished
from service.request_options import Options
from service.upload import Upload


async def retried(desk: Desk, record: JobRecord, caller: Caller, attempt: Attempt) -> JobRecord:
    """Queue a new job with the input and the controls of one that has ended.

    Raises:
        NotFinished: it has not ended.
        Gone: its input is not stored any more, as of a job that succeeded, expired or was canceled.
    """
    spec = record.spec
    if not record.state.over:
        hint = "wait for its end, or cancel it and send the image again"
        raise NotFinished(f"job {spec.id} is {record.state}", hint=hint, headers={"Retry-After": "2"})
    if made := await attempt.repeats({}):
        return (await desk.replay(made, caller, 0)).record
    if spec.source is None:
        raise _no_input(record)
    try:
        data = await desk.images.read(spec.source.blob, "the input")
    except Gone as error:
        raise _no_input(record) from error
    header = ImageHeader(**{name: value for name, value in spec.source.model_dump().items() if name != "blob"})
    seconds = None if spec.deadline_ms is None else max(1.0, (spec.deadline_ms - spec.submitted_ms) / 1000)
    options = Options(
        bundle=spec.bundle, lane=spec.lane, deadline_s=seconds, controls=spec.controls, output=spec.output,
        labels=spec.labels,
    )  # fmt: skip
    upload = Upload(kind=spec.kind, data=data, header=header, options=options)
    return (await desk.submit(upload, caller, 0, attempt=attempt)).record


def _no_input(record: JobRecord) -> Gone:
    job_id = record.spec.id
    return Gone(
        f"the input of job {job_id}, which {record.state}, is not stored any more",
        hint="send the image again; only the input of a job that failed is kept, as long as the job",
    )
