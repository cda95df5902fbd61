"""What the engine did for one image, and when: the stages that metrics, logs and traces name."""

from collections.abc import Iterable
from dataclasses import replace

from worker.messages import Stage

ASSESS, STEPS, FINISH = "assess", "steps", "finish"


class StageLog:
    """The stages of an image: each call that served it is added to the stage of its pass."""

    def __init__(self) -> None:
        self._stages: dict[tuple[int, str], Stage] = {}

    def add(self, name: str, pass_index: int, start_s: float, end_s: float) -> None:
        """Add a call.  Stages of one pass may overlap: a tile is finished while others still take steps."""
        known = self._stages.get((pass_index, name))
        if known is None:
            known = Stage(name=name, pass_index=pass_index, start_s=start_s, end_s=end_s, work_s=0.0)
        stage = replace(known, end_s=end_s, work_s=known.work_s + end_s - start_s)
        self._stages[pass_index, name] = stage

    def all(self) -> tuple[Stage, ...]:
        """Returns the stages in the order in which they began."""
        return tuple(self._stages.values())


def seconds_by_stage(stages: Iterable[Stage]) -> dict[str, float]:
    """Returns the seconds of the calls of each stage, over all passes."""
    seconds: dict[str, float] = {}
    for stage in stages:
        seconds[stage.name] = round(seconds.get(stage.name, 0.0) + stage.work_s, 4)
    return seconds
