"""Gets the image of a request: from its body, from a URL of the caller, or from an earlier upload."""

import asyncio
from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from jobs.tracing.spans import child_span
from service.authentication import Caller
from service.direct_uploads import DirectUploads
from service.outgoing.client import ExchangeLimits, OutgoingClient
from service.outgoing.host_rules import HostRules
from service.refusals import Refusal
from service.settings import ServiceSettings
from service.upload import Parcel, Upload, checked_image

IMAGE_URL_S = 30.0
"""How long fetching a URL may take, from resolving its host to the last byte."""
MAX_FETCHES = 16
"""At a time in one process: each holds an image in memory.  Further ones wait for their turn."""


class ImageUrlOff(Refusal):
    """This service fetches no images from URLs."""

    status, code = HTTPStatus.FORBIDDEN, "image-url-off"
    hint = "send the image itself; operators allow hosts with UNDEGRADE_IMAGE_URL_HOSTS"


class ImageFetch:
    """`client` reaches the hosts that the operator allows; None: no URL is fetched."""

    def __init__(self, settings: ServiceSettings, uploads: DirectUploads, client: OutgoingClient | None) -> None:
        self.settings, self.uploads, self.client = settings, uploads, client
        self._turns = asyncio.Semaphore(MAX_FETCHES)

    def close(self) -> None:
        """End the threads of name lookups."""
        if self.client is not None:
            self.client.close()

    async def opened(self, parcel: Parcel, caller: Caller) -> Upload:
        """Return the request with its image, which has passed the same checks from wherever it comes.

        Raises:
            ImageUrlOff, URL_REFUSALS: the URL is not fetched, or its server does not send it.
            NoSuchUpload, UploadNotReceived, Gone: there is no such upload, or no longer.
            TooLarge, NotAnImage, UnsupportedFormat, TooManyPixels: the service does not take this image.
        """
        source = parcel.source
        if source.data is not None and parcel.header is not None:
            data, name, header = source.data, source.file_name, parcel.header
        else:
            if source.url is not None:
                data, name = await self._fetched(source.url), _name_in(source.url)
            else:
                assert source.upload is not None, "a source is one of three"
                data, name = await self.uploads.read(source.upload, caller)
            header = await checked_image(data, self.settings)
        return Upload(kind=parcel.kind, data=data, header=header, options=parcel.options, file_name=name)

    async def _fetched(self, url: str) -> bytes:
        if self.client is None:
            raise ImageUrlOff("image_url is switched off in this service")
        limits = ExchangeLimits(total_s=IMAGE_URL_S, max_bytes=self.settings.max_bytes)
        with child_span("fetch url"):
            async with self._turns, self.client.get_stream(url, limits, {"Accept": "image/*"}) as stream:
                data = bytearray()
                async for chunk in stream:
                    data += chunk
                return bytes(data)


def client_for(settings: ServiceSettings) -> OutgoingClient | None:
    """Return the client of `image_url` for the hosts of the setting; None where there are none."""
    rules = HostRules(hosts=settings.image_url_hosts, ports=settings.url_ports)
    return OutgoingClient(rules) if rules.hosts else None


def _name_in(url: str) -> str:
    """Return the file name at the end of a URL's path."""
    return PurePosixPath(unquote(urlsplit(url).path)).name
