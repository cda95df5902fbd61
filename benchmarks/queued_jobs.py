"""Fills lines with queued jobs quickly, for benchmarks of long lines.

The words and the script are those of `Queue.submit`.  A Lua loop around the script makes a thousand jobs in a call, so
the line has exactly what submissions write, without a round trip and the work of Python for each job.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from redis.asyncio import Redis

JOBS_AT_ONCE = 500
OWNERS = ("aaaaaaaaaaaa", "bbbbbbbbbbbb", None)
"""Two API keys, and callers without one; jobs belong to them in turn."""
BUNDLE, TEMPLATE = "bench", "0" * 32


class Recorder:
    """Takes the place of a Redis client, and keeps the script and the words that `Queue` would send."""

    def __init__(self) -> None:
        self.script, self.words = "", [b""]

    def register_script(self, script: str) -> Any:  # noqa: ANN401 - as redis-py
        """Returns a call that only records."""

        async def call(args: Sequence[Any]) -> list[int]:
            self.script, self.words = script, [word.encode() if isinstance(word, str) else word for word in args]
            return [1, 0]

        return call


def job_id(number: int) -> str:
    """Returns the id of the job with this number: 32 digits, in no order."""
    return f"{(number * 2654435761) % 2**32:08x}{number:024x}"


def make_spec(job: str, **fields: Any) -> Any:  # noqa: ANN401 - of the checkout that is measured
    """Returns the spec of a job without an image; the lane is `standard` where no other is named."""
    from jobs.spec import JobSpec

    return JobSpec(**{"id": job, "bundle": BUNDLE, "lane": "standard", "kind": "noop", "submitted_ms": 1, **fields})


async def recorded(fields: dict[str, Any]) -> tuple[str, bytes]:
    """Returns the script of a submission, and its JSON argument, for the job TEMPLATE with these fields."""
    from jobs.queue import Queue

    recorder = Recorder()
    await Queue(recorder).submit(make_spec(TEMPLATE, **fields), 10**8)  # type: ignore[arg-type]
    return recorder.script, recorder.words[0]


def looped(script: str) -> str:
    """Returns a script that runs another once for each pair of its words: JSON, and the field `packed`."""
    return (
        f"local function submit(ARGV)\n{script}\nend\n"
        "for i = 1, #ARGV, 2 do\n"
        "    local answer = submit({ARGV[i], 'packed', ARGV[i + 1], 'input', ''})\n"
        "    if answer[1] ~= 1 then return answer[1] end\n"
        "end\n"
        "return 1\n"
    )


def batches(first: int, jobs: int) -> Iterator[range]:
    for start in range(first, first + jobs, JOBS_AT_ONCE):
        yield range(start, min(start + JOBS_AT_ONCE, first + jobs))


async def fill(redis: "Redis", jobs: int, first: int = 1, **fields: Any) -> None:  # noqa: ANN401
    """Queue jobs with the numbers from `first`, as submissions would.

    Args:
        fields: of their specs: `bundle`, `lane` and others; `owner`, else OWNERS take turns.

    Raises:
        RuntimeError: a submission was refused.
    """
    from jobs.rq_format import pack

    owners = (fields.pop("owner"),) if "owner" in fields else OWNERS
    templates = [(await recorded({**fields, "owner": owner}))[1] for owner in owners]
    run = redis.register_script(looped((await recorded(fields))[0]))
    for numbers in batches(first, jobs):
        words: list[bytes] = []
        for number in numbers:
            job = job_id(number)
            words += [templates[number % len(owners)].replace(TEMPLATE.encode(), job.encode()), pack(job)]
        if (answer := await run(args=words)) != 1:
            raise RuntimeError(f"a submission of the filler was refused: {answer}")
