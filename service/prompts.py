"""Refuses a prompt that no worker of its bundle can do, before the job is queued; counts the passes that it asks for.

Only bundles that take prompts as words are asked: others understand free text, and workers of an earlier version try
whatever they are given.
"""

from collections.abc import Sequence

from jobs.record import WorkerInfo
from jobs.spec import JobControls
from models.errors import PromptNotUnderstood as NotUnderstood
from models.prompt_plan import PromptPlan, plan_prompt
from service.refusals import PromptNotUnderstood
from service.request_options import invalid_field


def check_prompt(workers: Sequence[WorkerInfo], controls: JobControls) -> None:
    """Compare a prompt with what the workers of its bundle announce.

    Raises:
        PromptNotUnderstood: it asks for nothing that can be done, or also for something that cannot be done.
        InvalidRequest: shares of single degradations beside a free prompt.
    """
    if controls.prompt is None or not _known(workers):
        return
    try:
        planned = _plan(workers, controls)
    except NotUnderstood as error:
        errors = [{"field": "prompt", "problem": str(error)}]
        raise PromptNotUnderstood(str(error), errors=errors, can=list(error.can), cannot=list(error.cannot)) from error
    if planned is None and isinstance(controls.strength, dict):
        raise invalid_field(
            "strength", "this bundle takes the prompt as free text, which has no shares of degradations; give a number"
        )


def style_of(workers: Sequence[WorkerInfo]) -> str:
    """Return how the workers of a bundle take prompts: as words that may be refused only if all of them do."""
    told = [worker.prompts for worker in workers if worker.degradations]
    return "words" if told and all(style == "words" for style in told) else "free"


def passes_asked(workers: Sequence[WorkerInfo], controls: JobControls) -> tuple[int | None, bool]:
    """Return the number of passes that a request asks for, and whether it is exact; else it is the largest number."""
    if controls.prompt is None:
        return controls.max_passes, False
    plan = _plan(workers, controls.model_copy(update={"best_effort": True}))
    if plan is None or plan.action == "nearest":
        return 1, True
    if plan.action == "auto":
        return controls.max_passes, False
    return min(len(plan.repairs), controls.max_passes or len(plan.repairs)), True


def _plan(workers: Sequence[WorkerInfo], controls: JobControls) -> PromptPlan | None:
    """Return what is done for the prompt; None where some worker takes it as free text."""
    if style_of(workers) == "free":
        return None
    return plan_prompt(controls.prompt or "", _known(workers), best_effort=controls.best_effort)


def _known(workers: Sequence[WorkerInfo]) -> list[str]:
    return list(dict.fromkeys(entry.name for worker in workers for entry in worker.degradations))
