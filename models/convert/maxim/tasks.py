"""What a converted bundle takes from each MAXIM network, and its settings there.

The settings of autodir-small were fitted to its own networks and stop right repairs of these.  Those here were measured
on other photographs than the evaluation's (benchmarks/maxim_settings.py, docs/model-card-maxim.md).
"""

from dataclasses import dataclass

from models.errors import BundleError


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network's place in the bundle.

    Attributes:
        label: the degradation that it repairs.
        words: words of a prompt that ask for this network in place of another one of its label (SpecialistConfig).
        strength, floor: of the degradation, in place of autodir-small's.
        trained_on: the data set.
    """

    label: str
    words: tuple[str, ...] = ()
    strength: float = 1.0
    floor: float = 0.5
    trained_on: str


INDOOR_WORDS = ("indoor", "indoors", "inside", "room", "interior")
TASKS = {
    "deblurring": Task(label="blur", floor=0.5, trained_on="GoPro"),
    "deraining": Task(label="rain", floor=0.35, trained_on="Rain13k"),
    "dehazing-outdoor": Task(label="haze", floor=0.5, trained_on="RESIDE, outdoor"),
    "dehazing-indoor": Task(label="haze", words=INDOOR_WORDS, trained_on="RESIDE, indoor"),
    "enhancement": Task(label="low-light", floor=0.63, trained_on="LOL"),
}
"""By the names of the packages.  Haze has weights that were trained outdoors by default: those of the indoor data set
cost 7 to 11 dB where there is no indoor haze."""
BLACKENING = 0.03
"""In place of autodir-small's 0.01 (LoopConfig).  On photographs that nothing was fitted to, a right dehazing turned up
to 0.013 of the pixels black, and a wrong one up to 0.56."""
GLIMPSED = 0.5
"""In place of autodir-small's 0.3 (LoopConfig): a repair of something that was not the main damage needs certainty.  A
surplus repair by these networks costs up to 19 dB, ten times as much as one by ours."""


def task(name: str, file: str) -> Task:
    """Returns the place of the network with this name; `file` is named in the error.

    Raises:
        BundleError: the bundle has no place for it.
    """
    if name not in TASKS:
        raise BundleError(
            f"{file} holds MAXIM for {name}, which the bundle has no use for: it takes {', '.join(TASKS)}. "
            "Noise is repaired better by autodir-small's own network. Leave the file out."
        )
    return TASKS[name]
