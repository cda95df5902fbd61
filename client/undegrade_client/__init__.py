"""undegrade_client: restores images by an undegrade server, from programs that block and from asyncio.

with Client() as client:
    client.restore("photo.jpg").save("restored.jpg")
"""

from undegrade_client import webhooks
from undegrade_client.async_client import AsyncClient
from undegrade_client.async_job import AsyncJob
from undegrade_client.client import Client
from undegrade_client.errors import (
    ApiError,
    AuthenticationError,
    Canceled,
    ConfigurationError,
    ConnectionFailed,
    DamagedImage,
    DeadlineExceeded,
    Expired,
    IdempotencyConflict,
    ImageTooLarge,
    InputError,
    InvalidImage,
    InvalidRequest,
    JobExpired,
    JobFailed,
    JobUnserved,
    NotFinished,
    NotFound,
    PermissionDenied,
    PromptNotUnderstood,
    QuotaError,
    ServerError,
    ServerUnavailable,
    SignatureError,
    UndegradeError,
    UnexpectedAnswer,
    UnsuitableOptions,
)
from undegrade_client.job import Job
from undegrade_client.options import DetectOptions, RestoreOptions
from undegrade_client.settings import VERSION as __version__
from undegrade_client.views import Detection, Event, JobView, Pass, Result

__all__ = [
    "ApiError", "AsyncClient", "AsyncJob", "AuthenticationError", "Canceled", "Client", "ConfigurationError",
    "ConnectionFailed", "DamagedImage", "DeadlineExceeded", "DetectOptions", "Detection", "Event", "Expired",
    "IdempotencyConflict", "ImageTooLarge", "InputError", "InvalidImage", "InvalidRequest", "Job", "JobExpired",
    "JobFailed", "JobUnserved", "JobView", "NotFinished", "NotFound", "Pass", "PermissionDenied",
    "PromptNotUnderstood", "QuotaError", "RestoreOptions", "Result", "ServerError", "ServerUnavailable",
    "SignatureError", "UndegradeError", "UnexpectedAnswer", "UnsuitableOptions", "__version__", "webhooks",
]  # fmt: skip
