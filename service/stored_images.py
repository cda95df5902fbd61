"""The images that clients fetch: results, and images of passes, in whole or in part."""

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.blob_store import ServedStore
from jobs.errors import BlobMissing
from jobs.tracing.spans import child_span
from service.refusals import Gone

REDIRECT_S = 300
"""How long the URL of a redirect to the store is valid."""


class StoredImages:
    """Every method takes the name of a blob, and what it is for the error.

    Each raises Gone where the image was deleted or its time to live is over, and jobs.errors.StoreError for the store.
    """

    def __init__(self, store: ServedStore) -> None:
        self.store = store

    async def read(self, name: str, description: str) -> bytes:
        """Return an image."""
        with _gone(description), child_span("fetch"):
            return await self.store.get(name)

    async def read_range(self, name: str, description: str, first: int, end: int) -> bytes:
        """Return the bytes of an image from `first` up to `end`, which is not included."""
        with _gone(description), child_span("fetch"):
            return await self.store.get_range(name, first, end)

    async def size(self, name: str, description: str) -> int:
        """Return the bytes of an image without reading it."""
        with _gone(description):
            return await self.store.size(name)

    async def url(self, name: str, description: str) -> str:
        """Return a URL of an image in the store, which is valid for REDIRECT_S.  Only a store that signs has one."""
        await self.size(name, description)  # the store's own 404 would be XML
        return await self.store.presigned("GET", name, REDIRECT_S)


@contextmanager
def _gone(description: str) -> Iterator[None]:
    try:
        yield
    except BlobMissing as error:
        raise Gone(f"{description} has expired or was deleted") from error
