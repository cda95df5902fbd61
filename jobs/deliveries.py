"""The outbox of webhooks and result URLs: what is to be sent, who sends it now, and what became of it.

A job's deliveries are written by the script that ends the job (scripts/outbox.lua), so an end without them cannot be.
A webhook process leases deliveries that are due, sends them, and settles them.  If it dies, the lease ends and another
one sends them again, with the same id: at least once.

Each method raises redis.exceptions.RedisError when Redis is away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import ConfigDict
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.hooks import NO_OWNER, Hooks
from jobs.lua_scripts import LuaScripts
from jobs.record import Outcome
from jobs.state import State
from jobs.stored_model import StoredModel
from jobs.webhook_secrets import DisabledUrl, disabled_field

DeliveryKind = Literal["result", "webhook"]
DeliveryState = Literal["held", "waiting", "delivered", "failed", "disabled"]
AttemptOutcome = Literal["delivered", "retried", "failed", "disabled"]
ATTEMPT_OUTCOMES: tuple[AttemptOutcome, ...] = get_args(AttemptOutcome)
ADOPTED_AT_ONCE = 200
OLDEST_ADOPTED, OTHERS_ADOPTED = 1000, 1000
"""Jobs with webhooks that one call asks whether an earlier version has ended them."""


class Attempt(StoredModel):
    """One try: when it began, the receiver's status, or why there is none (`code` and a sentence), and its duration."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at_ms: int
    status: int | None = None
    code: str | None = None
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What is known of one delivery.  `due_ms`: of the next try."""

    number: int
    kind: DeliveryKind
    event: str
    state: DeliveryState
    tries: int
    created_ms: int
    due_ms: int | None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DueDelivery:
    """A delivery that this process has leased, with what it needs of the job.

    Attributes:
        again: somebody asked for it by hand, so it goes to a disabled URL, too.
    """

    job: str
    number: int
    group: str
    kind: DeliveryKind
    event: str
    tries: int
    again: bool
    owner: str | None
    job_kind: str
    state: State
    ended_ms: int
    hooks: Hooks
    outcome: Outcome

    @property
    def webhook_id(self) -> str:
        """Returns the id of the message, which is the same with each try."""
        return webhook_id(self.job, self.number)

    @property
    def owner_key(self) -> str:
        """Returns the owner as secrets and disabled URLs name it."""
        return self.owner or NO_OWNER


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What follows from a try.  `retry_s`: for the state waiting.  `disable`: the receiver answered 410."""

    state: DeliveryState
    attempt: Attempt | None = None
    outcome: AttemptOutcome | None = None
    retry_s: float | None = None
    disable: DisabledUrl | None = None
    enable: bool = False


@dataclass(frozen=True, kw_only=True)
class OutboxSnapshot:
    """How many deliveries are not over; the age of the oldest, and how long the most overdue one has been due."""

    waiting: int = 0
    oldest_s: float = 0.0
    overdue_s: float = 0.0


class Outbox:
    """The deliveries of all jobs in one Redis."""

    def __init__(self, redis: "Redis") -> None:
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self._scripts = LuaScripts(redis)
        self._adopted_to = 0

    async def claim(
        self,
        token: str,
        count: int,
        *,
        per_group: int,
        per_owner: int,
        slots: Mapping[str, int],
        slots_of_owner: Mapping[str, int],
    ) -> list[DueDelivery]:
        """Lease up to `count` due deliveries.

        Args:
            per_group, per_owner: how many this process may send at a time to one server, and for one API key.
            slots, slots_of_owner: how many more where it sends some already.
        """
        rows = await self._scripts.run(
            "claim_deliveries", token=token, count=count, per_group=per_group, per_owner=per_owner, slots=dict(slots),
            slots_of_owner=dict(slots_of_owner),
        )  # fmt: skip
        return [_due(row) for row in rows]

    async def renew(self, token: str, held: Sequence[DueDelivery]) -> None:
        """Renew the leases of deliveries that are being sent."""
        if held:
            rows = [{"id": due.job, "number": due.number, "group": due.group} for due in held]
            await self._scripts.run("renew_deliveries", token=token, deliveries=rows)

    async def settle(self, token: str, due: DueDelivery, settlement: Settlement) -> bool:
        """Note a try and what follows.  Returns False where the delivery is gone or another process holds it."""
        field = disabled_field(due.owner_key, due.hooks.webhook_url or "")
        disable = settlement.disable and {"field": field, "value": settlement.disable.model_dump_json()}
        answer = await self._scripts.run(
            "settle_delivery", token=token, id=due.job, number=due.number, state=settlement.state,
            retry_ms=None if settlement.retry_s is None else round(1000 * settlement.retry_s),
            outcome=settlement.outcome, attempt=settlement.attempt and settlement.attempt.model_dump_json(),
            disable=disable, enable=field if settlement.enable else None,
        )  # fmt: skip
        return bool(answer)

    async def wait(self, timeout_s: float) -> None:
        """Return when a delivery may be due, or after `timeout_s`."""
        await self.redis.blpop([redis_keys.OUTBOX_BELL], timeout=timeout_s)

    async def adopt(self) -> int:
        """Write the deliveries of jobs that a process of an earlier version has ended.  Returns how many.

        A call asks the oldest jobs, which end first, and some others, which are the next ones at the next call.
        """
        oldest = await self.redis.zrange(redis_keys.HOOKED, 0, OLDEST_ADOPTED - 1)
        first = max(OLDEST_ADOPTED, self._adopted_to)
        others = await self.redis.zrange(redis_keys.HOOKED, first, first + OTHERS_ADOPTED - 1)
        self._adopted_to = first + OTHERS_ADOPTED if len(others) == OTHERS_ADOPTED else 0
        hooked = [job.decode() for job in (*oldest, *others)]
        adopted = 0
        for start in range(0, len(hooked), ADOPTED_AT_ONCE):
            adopted += await self._scripts.run("adopt_hooks", ids=hooked[start : start + ADOPTED_AT_ONCE])
        return adopted

    async def of_job(self, job: str) -> list[Delivery]:
        """Returns the deliveries of a job, in the order in which they are sent."""
        numbers = range(1, redis_keys.MAX_DELIVERIES_PER_JOB + 1)
        async with self.redis.pipeline(transaction=False) as pipeline:
            for number in numbers:
                pipeline.hgetall(f"{redis_keys.DELIVERY}{job}:{number}")
                pipeline.lrange(f"{redis_keys.DELIVERY_ATTEMPTS}{job}:{number}", 0, -1)
            rows = await pipeline.execute()
        pairs = zip(numbers, rows[::2], rows[1::2], strict=True)
        return [_delivery(number, fields, attempts) for number, fields, attempts in pairs if fields]

    async def hooks(self, job: str) -> Hooks:
        """Returns the URLs of a job."""
        text = await self.redis.hget(redis_keys.JOB + job, "hooks")
        return Hooks.model_validate_json(text) if text else Hooks()

    async def redeliver(self, job: str, number: int) -> Literal["waiting", "held", ""]:
        """Send a delivery once more, with all its tries.

        Returns:
            "waiting"; "held" where it waits for the delivery of the result; "" where there is none.
        """
        answer: Literal["waiting", "held", ""] = (
            await self._scripts.run("redeliver", id=job, number=number)
        ).decode()  # fmt: skip
        return answer

    async def announce_process(self, host: str) -> None:
        """Note that a webhook process of this host runs."""
        await self.redis.set(redis_keys.WEBHOOK_PROCESS + host, 1, ex=redis_keys.WORKER_TTL_S)

    async def is_process_alive(self, host: str) -> bool:
        """Returns whether a webhook process of this host runs."""
        return bool(await self.redis.exists(redis_keys.WEBHOOK_PROCESS + host))

    async def snapshot(self, now_ms: int) -> OutboxSnapshot:
        """Returns how the outbox is at a moment."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.zcard(redis_keys.DELIVERIES_WAITING)
            pipeline.zrange(redis_keys.DELIVERIES_WAITING, 0, 0, withscores=True)
            pipeline.zrange(redis_keys.OUTBOX, 0, 0, withscores=True)
            waiting, oldest, first_due = await pipeline.execute()
        return OutboxSnapshot(
            waiting=waiting,
            oldest_s=max(0.0, (now_ms - oldest[0][1]) / 1000) if oldest else 0.0,
            overdue_s=max(0.0, (now_ms - first_due[0][1]) / 1000) if first_due else 0.0,
        )


def merged_outbox(snapshots: Sequence[OutboxSnapshot]) -> OutboxSnapshot:
    """Returns the outboxes of several Redis servers as one."""
    return OutboxSnapshot(
        waiting=sum(one.waiting for one in snapshots),
        oldest_s=max((one.oldest_s for one in snapshots), default=0.0),
        overdue_s=max((one.overdue_s for one in snapshots), default=0.0),
    )


def webhook_id(job: str, number: int) -> str:
    """Returns the id of a delivery's message: the same with each try, so receivers can tell repeats."""
    return f"msg_{job}_{number}"


def _due(row: Sequence[Any]) -> DueDelivery:
    job, number, group, delivery, record = row
    fields, known = _fields(delivery), _fields(record)
    spec_kind = Kind.model_validate_json(known.get("spec", b"{}")).kind
    return DueDelivery(
        job=job.decode(),
        number=int(number),
        group=group.decode(),
        kind=fields["kind"].decode(),  # type: ignore[arg-type]
        event=fields["event"].decode(),
        tries=int(fields.get("tries", 0)),
        again="again" in fields,
        owner=known["owner"].decode() if "owner" in known else None,
        job_kind=spec_kind,
        state=State(known["state"].decode()),
        ended_ms=int(known.get("ended_ms", 0)),
        hooks=Hooks.model_validate_json(known.get("hooks", b"{}")),
        outcome=Outcome.model_validate_json(known.get("outcome", b"{}")),
    )


class Kind(StoredModel):
    """The kind of a job, read from a spec of any version."""

    model_config = ConfigDict(extra="ignore")

    kind: str = "restore"


def _delivery(number: int, fields: Mapping[bytes, bytes], attempts: Sequence[bytes]) -> Delivery:
    return Delivery(
        number=number,
        kind=fields[b"kind"].decode(),  # type: ignore[arg-type]
        event=fields[b"event"].decode(),
        state=fields[b"state"].decode(),  # type: ignore[arg-type]
        tries=int(fields.get(b"tries", 0)),
        created_ms=int(fields[b"created_ms"]),
        due_ms=int(fields[b"due_ms"]) if fields[b"state"] == b"waiting" and b"due_ms" in fields else None,
        attempts=tuple(Attempt.model_validate_json(text) for text in attempts),
    )


def _fields(pairs: Sequence[bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
