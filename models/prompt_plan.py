"""Decides what a prompt makes a bundle do, before a network sees the photo: repairs, nothing, or its own choice.

A prompt that asks for something else is refused with what can be done, unless the user allows the best effort.  Bundles
with a published text encoder take free prompts instead: they refuse nothing.  Torch-free, so that the service can
refuse a prompt before it queues a job.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from models.controls import Controls
from models.errors import PromptNotUnderstood
from models.restoration_report import Understood
from models.vocabulary import CLEAN, DEGRADATIONS, degradation, is_known
from models.warning_codes import CodedWarning
from models.words.wish import Wish, understand_wish

PromptStyle = Literal["words", "free"]
"""How a bundle takes a prompt: as words of the lexicon, or as free text that its text encoder understands."""
SMALL_TEXT_WIDTH = 512
"""Text encoders that are narrower know too few words for free prompts; that of the smallest CLIP is as wide."""
OWN_CHOICE = "make it better"
"""An example of a prompt that leaves the choice to the service."""
GUESSED = CodedWarning(
    "the prompt asks for nothing that this bundle can do, so the most similar repair was done", "guessed-prompt"
)
GUESSED_NOTHING = CodedWarning(
    "the prompt asks for nothing that this bundle can do, and resembles no repair, so nothing was done",
    "guessed-prompt",
)


@dataclass(frozen=True, kw_only=True)
class PromptPlan:
    """What is done for a prompt.

    Attributes:
        action: "repairs": these, in order; "nothing"; "auto": what the assessor finds; "nearest": see `nearest`.
        repairs: names that the bundle knows.
        score: how surely the label of a guess was found, 0 to 1; None: it is no guess.
    """

    wish: Wish
    action: Literal["repairs", "nothing", "auto", "nearest"]
    repairs: tuple[str, ...] = ()
    warnings: tuple[CodedWarning, ...] = ()
    score: float | None = None

    def nearest(self, scores: Mapping[str, float]) -> "PromptPlan":
        """Returns the plan of a guess, from the scores that the text encoder gives all names, "clean" included."""
        allowed = {name: score for name, score in scores.items() if name not in self.wish.kept}
        label = max(allowed, key=lambda name: allowed[name], default=CLEAN)
        score = allowed.get(label, 0.0)
        if label == CLEAN:
            return replace(self, action="nothing", warnings=(*self.warnings, GUESSED_NOTHING), score=score)
        return replace(self, action="repairs", repairs=(label,), warnings=(*self.warnings, GUESSED), score=score)

    def allowed(self, names: Sequence[str], owed: Sequence[str] = ()) -> tuple[str, ...]:
        """Returns the names that may be repaired; `owed` are repairs that another control asks for."""
        if self.action == "auto":
            return tuple(name for name in names if name not in self.wish.kept)
        if self.action == "nothing":
            return tuple(name for name in names if name == CLEAN)
        wanted = {*self.repairs, *(name for name in owed if name not in self.wish.kept), CLEAN}
        return tuple(name for name in names if name in wanted)

    def understood(self, used: Literal["label", "nothing"]) -> Understood:
        """Returns how the prompt was understood, for the report."""
        first = {"nothing": CLEAN, "auto": "auto"}.get(self.action) or self.repairs[0]
        score = self.wish.sure if self.score is None else self.score
        return with_wish(Understood(label=first, score=score, used=used, ignored=self.wish.ignored), self.wish)


def plan_for(
    controls: Controls, style: PromptStyle, known: Sequence[str], scores_of: Callable[[str], Mapping[str, float]]
) -> PromptPlan | None:
    """Returns what a bundle does for the prompt of a request; None without one, and for a free one.

    Args:
        controls: of the request; in strict mode, prompts are free.
        style: of the bundle.
        known: the repairs of the bundle, without "clean".
        scores_of: scores all names of the bundle for a prompt.

    Raises:
        PromptNotUnderstood: as `plan_prompt`.
    """
    if controls.prompt is None or controls.strict or style == "free":
        return None
    plan = plan_prompt(controls.prompt, known, best_effort=controls.best_effort)
    return plan.nearest(scores_of(controls.prompt)) if plan.action == "nearest" else plan


def plan_prompt(prompt: str, known: Sequence[str], *, best_effort: bool = False) -> PromptPlan:
    """Returns what a bundle that repairs `known` (without "clean") does for a prompt.

    Raises:
        PromptNotUnderstood: the prompt asks for nothing that can be done, or also for something that cannot be done,
            and `best_effort` is off.
    """
    wish = wish_of(prompt, known)
    if wish.answer in ("nothing", "auto"):
        return PromptPlan(wish=wish, action="nothing" if wish.answer == "nothing" else "auto")
    able = tuple(name for name in wish.repairs if name in known)
    unable = tuple(name for name in wish.repairs if name not in known)
    if unable and not best_effort:
        raise PromptNotUnderstood(_cannot(unable, known), can=tuple(known), cannot=unable)
    if not able and not best_effort:
        raise PromptNotUnderstood(_unknown(known), can=tuple(known))
    missed = (_missed(unable),) if able and unable else ()
    return PromptPlan(wish=wish, action="repairs" if able else "nearest", repairs=able, warnings=missed)


def wish_of(prompt: str, known: Sequence[str]) -> Wish:
    """Returns what the words of a prompt ask for; class prompts, which training and evaluation use, are exact."""
    for entry in (*DEGRADATIONS, *map(degradation, known)):
        if prompt == entry.prompt:
            return Wish(answer="repairs", repairs=(entry.name,), language="en", sure=1.0)
    return understand_wish(prompt, extra=[name for name in known if not is_known(name)])


def with_wish(understood: Understood, wish: Wish) -> Understood:
    """Returns a report's entry with what the words mean."""
    return replace(
        understood, answer=wish.answer, repairs=wish.repairs, kept=wish.kept, language=wish.language, sure=wish.sure
    )  # fmt: skip


def style_of(networks: Mapping[str, object], stated: PromptStyle | None = None) -> PromptStyle:
    """Returns how a bundle takes prompts: as its manifest states, else by the width of its text encoder."""
    if stated is not None:
        return stated
    width = _text_width(networks)
    return "words" if width is not None and width < SMALL_TEXT_WIDTH else "free"


def _text_width(networks: Mapping[str, object]) -> int | None:
    """Returns the width in a manifest's `networks`; None where it is the published one."""
    controller = networks.get("controller")
    place: object = controller if isinstance(controller, Mapping) else networks
    for key in ("clip", "text", "width"):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place if isinstance(place, int) else None


def _cannot(unable: Sequence[str], known: Sequence[str]) -> str:
    return f"this bundle cannot repair {' or '.join(unable)}, which the prompt asks for. {_offer(known)}"


def _unknown(known: Sequence[str]) -> str:
    return f"the prompt was not understood: it asks for no repair that this bundle knows. {_offer(known)}"


def _offer(known: Sequence[str]) -> str:
    return f"It can repair {', '.join(known)}; or ask for its own choice, as in {OWN_CHOICE!r}."


def _missed(unable: Sequence[str]) -> CodedWarning:
    return CodedWarning(f"this bundle cannot repair {' or '.join(unable)}, which the prompt asks for", "partial-prompt")
