"""One try of one delivery: what is sent, and what its answer means."""

import time
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs.blob_store import BlobStore
from jobs.deliveries import Attempt, DueDelivery, Outbox, Settlement
from jobs.errors import BlobMissing
from jobs.webhook_secrets import DisabledUrl, is_disabled, owner_exists, secrets_of
from service.image_header import MEDIA_TYPES
from service.outgoing.client import Answer, ExchangeLimits, OutgoingClient
from service.outgoing.refusals import URL_REFUSALS, UrlNotAllowed
from service.webhooks.message import payload, signed_headers
from service.webhooks.schedule import GONE, may_pass, next_pause_s

WEBHOOK_LIMITS = ExchangeLimits(total_s=15.0)
"""Receivers should answer at once and work later."""
RESULT_LIMITS = ExchangeLimits(total_s=120.0)


@dataclass(frozen=True, kw_only=True)
class Clients:
    """The client for webhook URLs, and the one for result URLs: they have different rules."""

    webhook: OutgoingClient
    result: OutgoingClient

    def close(self) -> None:
        self.webhook.close()
        self.result.close()


class NothingToSend(Exception):
    """The delivery cannot succeed any more; `code` and the text say why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Sending:
    """Sends deliveries.  Neither a URL nor an answer's text is kept or logged: both may contain credentials."""

    def __init__(self, redis: "Redis", store: BlobStore, clients: Clients, keys: Any = None) -> None:  # noqa: ANN401
        self.keys: Any = redis if keys is None else keys  # the Redis of API keys
        self.store, self.clients, self.outbox = store, clients, Outbox(redis)

    async def try_once(self, due: DueDelivery) -> Settlement:
        """Send a delivery, and return what to note.

        Raises:
            redis.exceptions.RedisError, jobs.errors.StoreError: the lease ends, and it is sent again.
        """
        url = due.hooks.webhook_url or ""
        if due.kind == "webhook" and not due.again and await is_disabled(self.keys, due.owner_key, url):
            return Settlement(state="disabled", outcome="disabled")
        at_ms, began_s = time.time_ns() // 10**6, time.monotonic()
        try:
            answer = await (self._post(due) if due.kind == "webhook" else self._put(due))
        except NothingToSend as why:
            attempt = Attempt(at_ms=at_ms, code=why.code, error=str(why))
            return Settlement(state="failed", outcome="failed", attempt=attempt)
        except URL_REFUSALS as refusal:
            attempt = Attempt(at_ms=at_ms, code=refusal.code, error=refusal.detail, seconds=_since(began_s))
            return self._failed(due, attempt, retry=due.kind == "webhook" or not isinstance(refusal, UrlNotAllowed))
        return self._answered(due, answer, Attempt(at_ms=at_ms, status=answer.status, seconds=_since(began_s)))

    def _answered(self, due: DueDelivery, answer: Answer, attempt: Attempt) -> Settlement:
        if 200 <= answer.status < 300:
            return Settlement(state="delivered", outcome="delivered", attempt=attempt, enable=due.kind == "webhook")
        attempt = attempt.model_copy(update={"code": "status", "error": f"the receiver answered {answer.status}"})
        if due.kind == "webhook" and answer.status == GONE:
            origin = due.group.partition(" ")[2]
            disable = DisabledUrl(origin=origin, since_ms=attempt.at_ms)
            return Settlement(state="disabled", outcome="disabled", attempt=attempt, disable=disable)
        retry_after = answer.headers.get("retry-after") if answer.status in (429, 503) else None
        return self._failed(due, attempt, retry=may_pass(due.kind, answer.status), retry_after=retry_after)

    def _failed(self, due: DueDelivery, attempt: Attempt, retry: bool, retry_after: str | None = None) -> Settlement:
        pause_s = next_pause_s(due.kind, due.tries + 1, retry_after) if retry else None
        if pause_s is None:
            return Settlement(state="failed", outcome="failed", attempt=attempt)
        return Settlement(state="waiting", outcome="retried", attempt=attempt, retry_s=pause_s)

    async def _post(self, due: DueDelivery) -> Answer:
        if not await owner_exists(self.keys, due.owner_key):
            raise NothingToSend("key-revoked", "the API key of the job was revoked, so its webhooks are not signed")
        now_s = time.time()
        secrets = (await secrets_of(self.keys, due.owner_key)).valid(int(now_s * 1000))
        deliveries = await self.outbox.of_job(due.job) if due.hooks.result_url else []
        body = payload(due, deliveries)
        headers = signed_headers(due.webhook_id, now_s, body, secrets)
        return await self.clients.webhook.post(due.hooks.webhook_url or "", body, headers, WEBHOOK_LIMITS)

    async def _put(self, due: DueDelivery) -> Answer:
        result = due.outcome.result
        if result is None:
            raise NothingToSend("no-result", "the job ended without an image")
        try:
            image = await self.store.get(result.blob)
        except BlobMissing:
            raise NothingToSend("result-gone", "the image was deleted, or has expired") from None
        media_type = {str(name): value for name, value in MEDIA_TYPES.items()}.get(result.format)
        headers = {"content-type": media_type or "application/octet-stream"}
        return await self.clients.result.put(due.hooks.result_url or "", image, len(image), headers, RESULT_LIMITS)


def _since(began_s: float) -> float:
    return round(time.monotonic() - began_s, 3)
