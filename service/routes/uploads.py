"""`POST /uploads`: a URL of the store to which the client PUTs an image, and an id that later requests name."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.errors import ClaimTaken
from service.authentication import AuthenticatedCaller
from service.direct_uploads import DirectUploads, OpenUpload
from service.idempotency.attempt import CurrentAttempt
from service.query import check_query, unknown_field
from service.refusals import InvalidRequest
from service.request_body import read_small_json
from service.routes.dependencies import CurrentImages, problem_responses

router = APIRouter(tags=["restore"])


class UploadFields(BaseModel):
    """The fields of `POST /uploads`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bytes: Annotated[int | None, Field(ge=1, le=2**53, description="The size of the image, if you know it.")] = None
    file_name: Annotated[
        str | None, Field(min_length=1, max_length=200, description="The name of the file, for that of the result.")
    ] = None


class UploadBody(BaseModel):
    """An open upload: PUT the image to `url` before `put_until`, then send `upload: id` instead of an image."""

    id: str
    method: Literal["PUT"] = "PUT"
    url: str
    put_until: datetime
    expires_at: datetime
    max_bytes: int


@router.post(
    "/uploads",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "content": {"application/json": {"schema": UploadFields.model_json_schema()}},
            "required": False,
        }
    },
    responses=problem_responses(401, 409, 410, 413, 415, 422, 503, 507),
)
async def open_upload(
    request: Request, images: CurrentImages, caller: AuthenticatedCaller, attempt: CurrentAttempt
) -> UploadBody:
    """Open an upload into the store, where the store is S3.

    The URL lets anybody who knows it write this one image for 15 minutes; treat it as a secret.  The upload can be used
    for one hour, for any number of requests of the same API key.
    """
    check_query(request, has_upload=False)
    body = await read_small_json(request)
    fields = _valid(body)
    uploads = images.uploads
    uploads.check_available()
    if made := await attempt.repeats(body):
        return _body(await uploads.again(made, caller), uploads)
    try:
        upload = await uploads.open(caller, fields.bytes, fields.file_name, attempt.claim)
    except ClaimTaken as earlier:
        upload = await uploads.again(attempt.made_by(earlier), caller)
    return _body(upload, uploads)


def _valid(body: dict[str, Any]) -> UploadFields:
    try:
        return UploadFields.model_validate({name: _whole(value) for name, value in body.items()})
    except ValidationError as error:
        errors = [_problem(entry["type"], str(entry["loc"][0]), entry["msg"]) for entry in error.errors()]
        raise InvalidRequest(f"{errors[0]['field']}: {errors[0]['problem']}", errors=errors) from error


def _whole(value: object) -> object:
    """Return a JSON number as JSON Schema sees it: 5.0 is the whole number 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _problem(kind: str, name: str, message: str) -> dict[str, str]:
    text = unknown_field(name, UploadFields.model_fields) if kind == "extra_forbidden" else message
    return {"field": name[:100], "problem": text}


def _body(upload: OpenUpload, uploads: DirectUploads) -> UploadBody:
    return UploadBody(
        id=upload.id, url=upload.url, put_until=datetime.fromtimestamp(upload.put_until_s, UTC),
        expires_at=datetime.fromtimestamp(upload.expires_s, UTC), max_bytes=uploads.settings.max_bytes,
    )  # fmt: skip
