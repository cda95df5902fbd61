"""One attempt of a request that a client may repeat.  Every route that makes something takes one:

    async def restore(request: Request, attempt: CurrentAttempt, ...) -> Response:
        if made := await attempt.repeats(fields, content):
            ...answer with what the first attempt made, as it is now
        ...make it, with `attempt.claim` for the script that does (jobs/scripts/claims.lua)

Without an Idempotency-Key, `repeats` returns None and `claim` is None.
"""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Header, Request

from jobs.claims import Claim, claim_of
from jobs.errors import ClaimTaken
from jobs.queue import Queue
from service.authentication import AuthenticatedCaller
from service.idempotency.fingerprint import Field, fingerprint
from service.idempotency.key import HEADER, PATTERN, read_key
from service.idempotency.refusals import IdempotencyKeyReused
from service.request_log import add_header

REPLAYED = "Idempotency-Replayed"
DESCRIPTION = (
    "Makes the request safe to repeat: for 24 hours, the same request with the same key is answered with what the "
    "first one made. Printable ASCII, bare or as a string in quotes."
)
SCHEMA = {"type": "string", "pattern": PATTERN}


class Attempt:
    """One attempt of a request; `key` is its Idempotency-Key."""

    def __init__(self, request: Request, owner: str | None, key: str | None, queue: Queue) -> None:
        self._request, self._owner, self._key, self._queue = request, owner, key, queue
        self.claim: Claim | None = None

    async def may_repeat(self) -> bool:
        """Return whether an earlier request had this key.  The body, which decides, has not been read yet."""
        claim = self.named_claim
        return claim is not None and await self._queue.claim_holder(claim) is not None

    @property
    def named_claim(self) -> Claim | None:
        """The claim before the body has been read, which tells where the thing is made; None without a key."""
        return None if self._key is None else claim_of(self._owner, self._key, "")

    async def repeats(self, fields: Mapping[str, Field], content: str = "") -> str | None:
        """Return the id of what the same request made before, or None: then `claim` is the claim of this one.

        Raises:
            IdempotencyKeyReused: another request has used the key.
            NotReplicated: a failover could still lose what it has made.
        """
        if self._key is None:
            return None
        self.claim = claim_of(self._owner, self._key, fingerprint(self._route(), fields, content))
        known = await self._queue.claim_holder(self.claim)
        if known is None:
            return None
        first, made = known
        await self._queue.replication.confirm(self._queue.part(made).redis)  # the first attempt may have ended without
        return self.made_by(ClaimTaken(made if first == self.claim.digest else None))

    def forget(self) -> None:
        """Treat the request as one without a key: nothing may stay of it, not even the key."""
        self._key = None

    def made_by(self, earlier: ClaimTaken) -> str:
        """Return the id of what the same request made, and mark the answer as a replay.

        Raises:
            IdempotencyKeyReused: it was another request.
        """
        if earlier.made is None:
            raise IdempotencyKeyReused(f"{HEADER}: another request has used this key in the last 24 hours")
        add_header(self._request.scope, REPLAYED, "true")
        return earlier.made

    def _route(self) -> str:
        """Return method and path, without the prefix of a proxy."""
        path = self._request.scope["route"].path.format(**self._request.path_params)
        return f"{self._request.method} {path}"


async def _attempt(
    request: Request,
    caller: AuthenticatedCaller,
    key: Annotated[str | None, Header(alias=HEADER, description=DESCRIPTION, json_schema_extra=SCHEMA)] = None,
) -> Attempt:
    return Attempt(request, caller.owner, read_key(request.headers.getlist(HEADER)), request.app.state.desk.queue)


CurrentAttempt = Annotated[Attempt, Depends(_attempt)]
"""The dependency of every route that makes something."""
