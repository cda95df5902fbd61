"""Uploads of large images: by a presigned URL, straight into the object store, where the server offers that."""

from __future__ import annotations

import json
import uuid

from undegrade_client.errors import ApiError, UndegradeError
from undegrade_client.exchange import Deadline, Flow, Request
from undegrade_client.retries import json_object, send
from undegrade_client.settings import Settings

NOT_OFFERED = frozenset({"uploads-unavailable", "not-found", "method-not-allowed"})
"""The store of the server takes none, or the server is older than direct uploads."""
STORE_S = 60.0
"""So long the client tries to reach the store.  It may be open to the server only; then the server takes the image."""


class DirectUploads:
    """Opens uploads and fills them; remembers a server that offers none."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.offered = settings, True

    def send(self, data: bytes, deadline: Deadline, key: str) -> Flow[str | None]:
        """Return the id of the upload that holds the image; None where it has to be sent to the server itself.

        Args:
            key: the Idempotency-Key of the request that will name the upload.
        """
        if not self.offered:
            return None
        own_key = uuid.uuid5(uuid.NAMESPACE_OID, key).hex  # the server keeps one answer for each key
        headers = {"Idempotency-Key": own_key, "Content-Type": "application/json"}
        request = Request("POST", "/uploads", headers, body=json.dumps({"bytes": len(data)}).encode())
        try:
            answer = json_object((yield from send(self.settings, request, deadline)))
        except ApiError as error:
            if error.code not in NOT_OFFERED:
                raise
            self.offered = False
            return None
        put = Request("PUT", str(answer["url"]), body=data, timeout_s=self.settings.silence_s)
        try:
            yield from send(self.settings, put, deadline.within(STORE_S))
        except UndegradeError:
            if deadline.left_s() <= 0:
                raise
            self.offered = False
            return None
        return str(answer["id"])
