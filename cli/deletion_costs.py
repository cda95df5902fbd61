"""Decides which worker pods to mark as busy.  It has no clock and no network: time and observations come in as numbers.

Kubernetes asks that the cost is not changed often.  So there are two values, and a pod counts as idle only after it has
held no job for a while: a pod that takes one job after the other is patched once.
"""

from collections.abc import Mapping

IDLE, BUSY = 0, 100
"""The cost of a pod that holds no job, and of one that does.  Kubernetes removes the cheaper ones first."""


class DeletionCosts:
    """The costs of the pods that workers have announced.

    Attributes:
        idle_s: how long a pod has held no job before it counts as idle.
    """

    def __init__(self, idle_s: float) -> None:
        self.idle_s = idle_s
        self._busy_until_s: dict[str, float] = {}
        self._written: dict[str, int] = {}

    def changes(self, held: Mapping[str, int], now_s: float) -> dict[str, int]:
        """Returns the cost of each pod whose cost is to be written; busy ones first.

        Args:
            held: how many jobs each pod holds; other pods are forgotten.
        """
        for known in (self._written, self._busy_until_s):
            for pod in known.keys() - held.keys():
                del known[pod]
        for pod, jobs in held.items():
            if jobs > 0:
                self._busy_until_s[pod] = now_s + self.idle_s
        busy = {pod for pod, jobs in held.items() if jobs > 0 or now_s < self._busy_until_s.get(pod, now_s)}
        wanted = {pod: BUSY if pod in busy else IDLE for pod in held}
        changed = {pod: cost for pod, cost in wanted.items() if self._written.get(pod) != cost}
        return dict(sorted(changed.items(), key=lambda item: (-item[1], item[0])))

    def written(self, pod: str, cost: int) -> None:
        """The cost of a pod is written, or can never be: do not write it again before it changes."""
        self._written[pod] = cost
