"""What a prompt makes of AutoDIR's loop: the repairs that its words name, or one pass with the text as the condition.

A free prompt (of a published system, or in strict mode) is the condition of a single pass, as published.  Otherwise the
lexicon decides (models.prompt_plan), and each repair runs with the condition of its own class prompt.
"""

from dataclasses import replace
from typing import Literal

from models.autodir.assessor import Assessor
from models.autodir.config import AutoDIRConfig
from models.autodir.specialists import Specialists
from models.autodir.track import ImageRun
from models.controls import Controls, refuse_shares_with_prompt, wanted_names
from models.errors import ControlsError
from models.prompt_plan import PromptPlan, plan_for, wish_of, with_wish
from models.prompt_words import understand
from models.restoration_report import Understood
from models.restorer import ENLARGING_REPAIR
from models.vocabulary import CLEAN


def is_free(controls: Controls, plan: PromptPlan | None) -> bool:
    """Returns whether the prompt itself conditions a single pass."""
    return controls.prompt is not None and plan is None


def plan_of(controls: Controls, config: AutoDIRConfig, assessor: Assessor) -> PromptPlan | None:
    """Returns what is done for a prompt; None without one, and for a free one.

    Raises:
        PromptNotUnderstood: as models.prompt_plan.plan_prompt.
    """
    known = [name for name in config.names if name != CLEAN]
    return plan_for(controls, config.prompts, known, assessor.prompt_probabilities)


def allowed_by(controls: Controls, config: AutoDIRConfig, plan: PromptPlan | None) -> tuple[str, ...]:
    """Returns the names that the loop may choose from, "clean" among them.

    Raises:
        ControlsError: the bundle does not know a degradation, or controls contradict the prompt.
    """
    if controls.prompt is not None and (controls.only or controls.skip):
        raise ControlsError("got a prompt together with only or skip; leave them out: a prompt says what to repair")
    if plan is None:
        refuse_shares_with_prompt(controls)
    names = wanted_names(config.names, controls)
    owed = (ENLARGING_REPAIR,) if controls.scale > 1 else ()
    return names if plan is None else plan.allowed(names, owed)


def understood_by(run: ImageRun, assessor: Assessor, specialists: Specialists) -> Understood | None:
    """Returns how the prompt was understood; words that choose a specialist on request are not ignored."""
    prompt = run.controls.prompt
    if prompt is None:
        return None
    if run.plan is not None:
        understood = run.plan.understood("label")
        keys = [specialists.key_of(name, prompt, run.factor) for name in run.plan.repairs]
    else:
        label = _resembled(assessor, prompt)
        keys = [] if run.controls.strict else [specialists.key_of(label, prompt, run.factor)]
        used: Literal["text", "label"] = "label" if any(keys) else "text"
        known = [name for name in assessor.prompt_probabilities(prompt) if name != CLEAN]
        understood = with_wish(understand(prompt, assessor.prompt_scores, used), wish_of(prompt, known))
    chose = {word for key in keys for word in specialists.words_used(key, prompt)}
    return replace(understood, ignored=tuple(word for word in understood.ignored if word not in chose))


def set_free_prompt(run: ImageRun, assessor: Assessor) -> None:
    """Make the text of the prompt the condition of the only pass; its label is the repair that it resembles most."""
    prompt = run.controls.prompt or ""
    run.source, run.label = "user", _resembled(assessor, prompt)
    run.condition = assessor.user_states([prompt])[0]


def _resembled(assessor: Assessor, prompt: str) -> str:
    """Returns the repair that a free prompt resembles most: its default fidelity and specialist are used."""
    scores = assessor.prompt_probabilities(prompt)
    return max((name for name in scores if name != CLEAN), key=lambda name: scores[name])
