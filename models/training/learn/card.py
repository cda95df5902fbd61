"""The card of a learned bundle: what it was taught, what it gained, and what it lost, as Markdown and as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.training.learn.evidence import Learned
from models.training.learn.measurement import Gains, StrictGains

CARD = "card.md"
FACTS = "learned.json"


@dataclass(frozen=True, kw_only=True)
class StrictReport:
    """What AIR and SCM have learned: gains with `--strict --prompt` before and after, and steps of training."""

    before: StrictGains
    after: StrictGains
    air_steps: int
    scm_steps: int


@dataclass(frozen=True, kw_only=True)
class LearnReport:
    """What a run did.

    Attributes:
        trained_pairs, chosen_pairs: trained on; used to choose the weights and to calibrate.
        before, after: the old and the new bundle on the test pairs, which neither has seen.
        seconds, cpu_seconds: of this process, since the run was started or continued.
        strict: of a run with `strict_system`.
    """

    name: str
    bundle: str
    out: str
    trained_pairs: int
    chosen_pairs: int
    start: str
    steps: int
    strength: float
    floor: float
    assessor: Learned
    before: Gains
    after: Gains
    seconds: float
    cpu_seconds: float
    strict: StrictReport | None = None

    @property
    def forgets(self) -> bool:
        """Whether the old degradations lost more than a hundredth of their accuracy."""
        return self.assessor.old_after < self.assessor.old_before - 0.01

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def write_card(report: LearnReport, folder: Path) -> None:
    """Write card.md and learned.json into a bundle."""
    (folder / CARD).write_text(card_text(report))
    (folder / FACTS).write_text(json.dumps(report.as_json(), indent=2) + "\n")


def card_text(report: LearnReport) -> str:
    """Returns the card as Markdown."""
    before, after, assessor, name = report.before, report.after, report.assessor, report.name
    told = "-" if after.told is None else f"{after.told:.2f} ({after.told - after.input:+.2f})"
    start = "no pretrained weights" if report.start == "scratch" else f"the specialist *{report.start}*"
    lost = (
        "\n**The old degradations lost more than 1 %.** Teach with more photos (`--images`).\n"
        if report.forgets
        else ""
    )
    return f"""# {Path(report.out).name}: {report.bundle} and {name}

`undegrade learn` taught this bundle **{name}** from {report.trained_pairs} pairs of photos; {report.chosen_pairs} \
more chose the weights
and calibrated the repair. Training began with {start} and took {report.steps} steps.

```
undegrade restore photo.jpg --bundle {report.out}
undegrade restore photo.jpg --bundle {report.out} --only {name}
undegrade restore photo.jpg --bundle {report.out} --prompt "remove the {name.replace("-", " ")}"
```

## On {after.pairs} pairs that it has not seen

| | {report.bundle} | this bundle |
|---|---|---|
| PSNR of the damaged photos, dB | {before.input:.2f} | {after.input:.2f} |
| after `restore` | {before.automatic:.2f} ({before.automatic - before.input:+.2f}) | \
{after.automatic:.2f} ({after.automatic - after.input:+.2f}) |
| after `restore --prompt` | - | {told} |
| damaged photos in which {name} is found first | - | {after.found:.0%} |
| damaged photos that it repaired without being told | - | {after.repaired:.0%} |
| undamaged photos that came back unchanged | {before.unchanged:.0%} | {after.unchanged:.0%} |

Centers of at most 384 px a side.

## The other degradations

Single crops of held-out photos with synthetic damage, right answers of the assessor: {assessor.old_before:.1%} \
before, {assessor.old_after:.1%} after.
Their specialists are the same networks as in {report.bundle}.
{lost}{strict_text(report)}
## Calibration

Strength {report.strength:g}, floor {report.floor:g}: `restore` repairs {name} from this probability on.

{report.cpu_seconds:.0f} CPU seconds, {report.seconds:.0f} s in all.
"""


def strict_text(report: LearnReport) -> str:
    """Returns the part of the card on AIR and SCM; empty if they did not learn."""
    strict = report.strict
    if strict is None:
        return ""
    rows = [(report.name, strict.before.new, strict.after.new)]
    rows += [(name, before, strict.after.old[name]) for name, before in strict.before.old.items()]
    table = "\n".join(f"| {name} | {before:+.2f} | {after:+.2f} |" for name, before, after in rows)
    return f"""
## `--strict`

Copies of AIR ({strict.air_steps} steps) and SCM ({strict.scm_steps} steps) have learned {report.name}, too. \
PSNR gains in dB
of `restore --strict --prompt`:

| | {report.bundle} | this bundle |
|---|---|---|
{table}

{report.name}: the pairs above. The others: synthetic damage of undamaged photos that were not trained on.
"""
