"""Every code of the service has an exception of its own kind; the lists of codes are the service's, not ours."""

import importlib
import inspect
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

import service
import undegrade_client.errors
from service.failed_jobs import STATUSES
from service.refusals import Refusal
from undegrade_client import ApiError, InvalidRequest, JobFailed, QuotaError, ServerError, ServerUnavailable
from undegrade_client.codes import JOB_FAILURES, REFUSALS, job_failure, refusal

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
for module in pkgutil.walk_packages(service.__path__, "service."):
    importlib.import_module(module.name)  # refusals stand in several modules


def below(kind: type) -> set[type]:
    return {kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))}


SERVED = {kind.code: kind for kind in below(Refusal)}
_failures = PAGE.partition("| code of a job's error |")[2].partition("\n\n")[0]
FAILURES = {code for row in re.findall(r"^\| (`[^|]*) \|", _failures, re.M) for code in re.findall(r"`([^`]+)`", row)}


def test_the_client_maps_every_code_of_the_service():
    """A new refusal of the service needs a line in client/undegrade_client/codes.py, with the class that fits."""
    assert not set(SERVED) - set(REFUSALS)


def test_the_client_maps_every_code_of_a_failed_job():
    assert set(STATUSES) <= FAILURES
    assert not FAILURES - set(JOB_FAILURES)


@pytest.mark.parametrize("code", sorted(SERVED))
def test_the_class_of_a_code_fits_its_status(code):
    status, kind = SERVED[code].status.value, REFUSALS[code]
    if code != "job-failed":
        assert issubclass(kind, ServerError) == (status >= 500 or status == 408), (code, status)
        assert issubclass(kind, QuotaError) == (status == 429)
        assert issubclass(kind, ServerUnavailable) == (status in (408, 503, 504, 507))


def test_each_class_of_the_tree_is_in_its_picture_and_is_public():
    kinds = [kind for _, kind in inspect.getmembers(undegrade_client.errors, inspect.isclass)]
    ours = {kind.__name__ for kind in kinds if kind.__module__ == "undegrade_client.errors"}
    assert ours == set(re.findall(r"[├└]── (\w+)", undegrade_client.errors.__doc__)) | {"UndegradeError"}
    assert ours <= set(undegrade_client.__all__)


def test_codes_of_a_later_server_and_answers_of_proxies_map_by_their_status():
    kinds = {429: "QuotaError", 503: "ServerUnavailable", 500: "ServerError", 401: "AuthenticationError"}
    for status, name in kinds.items():
        assert type(refusal(status, {"code": "of-tomorrow", "detail": "x"})).__name__ == name
    proxy = refusal(502, {})
    assert (proxy.code, str(proxy)) == ("http-502", "the server answered 502 (http-502)")
    assert type(refusal(418, {})) is InvalidRequest


def test_the_image_of_a_failed_job_raises_what_waiting_for_the_job_raises():
    error = {"code": "deadline", "detail": "too late", "hint": "give it more time"}
    waited = job_failure("j", "expired", error)
    fetched = refusal(504, {"code": "job-failed", "detail": "too late", "error": error, "job_id": "j"})
    assert type(waited) is type(fetched) and isinstance(waited, JobFailed)
    assert waited.code == fetched.code == "deadline" and waited.job_id == fetched.job_id == "j"


def test_an_exception_survives_pickling():
    error = refusal(422, {"code": "invalid-request", "detail": "no", "hint": "yes", "errors": [{"field": "seed"}]}, 3.0)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.errors, copy.retry_after_s) == (InvalidRequest, str(error), error.errors, 3.0)
    assert isinstance(copy, ApiError)
