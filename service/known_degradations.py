"""Refuses degradations and prompts that the bundle of a request cannot repair, before the job is queued."""

import asyncio

from jobs.queue import Queue
from models.vocabulary import did_you_mean
from service.prompts import check_prompt
from service.request_fields import LIST_FIELDS
from service.request_options import Options, invalid_field


async def check_degradations(queue: Queue, bundle: str, options: Options) -> None:
    """Compare a request's controls with the degradations that the workers of the bundle announce.

    These are `only`, `skip`, the names in `strength`, and the prompt.  Without a worker of the bundle nobody knows its
    degradations: the job is queued, and its worker checks them.

    Raises:
        InvalidRequest: a name is unknown to the bundle, or nothing is left to repair.
        PromptNotUnderstood: the prompt asks for what the bundle cannot do.
    """
    controls = options.controls
    shares = controls.strength if isinstance(controls.strength, dict) else {}
    if not controls.only and not controls.skip and not shares and controls.prompt is None:
        return
    workers = [worker for worker in await queue.workers.alive() if worker.bundle == bundle]
    known = {entry.name for worker in workers for entry in worker.degradations}
    if not known:
        return
    named = {**{field: getattr(controls, field) for field in LIST_FIELDS}, "strength": tuple(shares)}
    for field, wanted in named.items():
        for name in wanted:
            if name not in known:
                problem = f"bundle {bundle} does not know {name}; it knows {', '.join(sorted(known))}"
                raise invalid_field(field, problem + did_you_mean(name).replace(" Did", "; did"))
    if controls.prompt is not None:  # reading the lexicon takes a second, and a long prompt a tenth
        await asyncio.to_thread(check_prompt, workers, controls)
    if not (set(controls.only) or known) - set(controls.skip):
        raise invalid_field("skip", "nothing is left to repair; remove a name")
