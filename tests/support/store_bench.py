"""Runs one scenario on a blob store of each kind; the fixture `url` makes the stores."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from jobs.blob_store import BlobStore, open_store

HOUR_S = 3600
BACKENDS = ["memory", "file", "s3", "redis"]
SWEPT = ["memory", "file", "s3"]  # Redis expires by itself


every_backend = pytest.mark.parametrize("url", BACKENDS, indirect=True)
swept_backends = pytest.mark.parametrize("url", SWEPT, indirect=True)


def run(redis_url: str, url: str, scenario: Callable[[BlobStore, Redis], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Redis.from_url(redis_url) as client:
            store = open_store(url, client)
            await scenario(store, client)
            await store.close()

    asyncio.run(main())
