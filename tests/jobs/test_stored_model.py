"""What is read from Redis leaves nothing behind in the process."""

import importlib
import json
import pkgutil
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

import jobs
from jobs.record import Outcome
from jobs.request_context import RequestContext
from jobs.spec import Source


def models(parent: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for child in parent.__subclasses__():
        yield child
        yield from models(child)


def test_no_model_of_redis_remembers_what_it_has_read():
    for module in pkgutil.walk_packages(jobs.__path__, "jobs."):
        importlib.import_module(module.name)
    ours = [model for model in models() if model.__module__.startswith("jobs.")]
    assert len(ours) > 20
    assert [model.__name__ for model in ours if model.model_config.get("cache_strings") != "keys"] == []


@pytest.mark.parametrize(
    ("model", "field"), [(Outcome, "stop_reason"), (Source, "sha256"), (RequestContext, "request_id")]
)
def test_reading_twice_gives_two_texts(model, field):
    """Where pydantic keeps what it has read, both are one object."""
    whole = {"blob": "a", "bytes": 1, "format": "png", "width_px": 1, "height_px": 1} if model is Source else {}
    text = json.dumps({**whole, field: "f" * 31 + "7"})
    first, second = (getattr(model.model_validate_json(text), field) for _ in range(2))
    assert first == second == "f" * 31 + "7"
    assert first is not second
