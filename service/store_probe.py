"""Asks the store now and then whether it can write and read, for /readyz."""

import asyncio
import time

from redis.exceptions import RedisError

from jobs.blob_store import BlobStore
from jobs.errors import StoreError

PROBE_S = 3.0
"""A store that has not answered by then counts as away."""
CACHED_S = 3.0


class StoreProbe:
    """Remembers the last answer for CACHED_S.  One probe runs at a time, for any number of requests."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self._reason: str | None = None
        self._fresh_until_s = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def reason(self) -> str | None:
        """Returns why the store cannot be used, or None where it can.  Redis being away is not the store's fault."""
        async with self._one_at_a_time:
            if time.monotonic() >= self._fresh_until_s:
                self._reason = await self._ask()
                self._fresh_until_s = time.monotonic() + CACHED_S
            return self._reason

    async def _ask(self) -> str | None:
        name = f"the blob store ({self.store.kind})"
        try:
            async with asyncio.timeout(PROBE_S):
                await self.store.probe()
        except TimeoutError:
            return f"{name} has not answered for {PROBE_S:g} s"
        except StoreError as error:
            return f"{name} cannot be written and read: {error}"
        except RedisError:
            return None
        return None
