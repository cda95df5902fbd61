"""The panels of the dashboards in deploy/observe/grafana/, and their queries as Prometheus takes them."""

import json
from collections.abc import Iterator
from pathlib import Path

from observe_files import OBSERVE

DASHBOARDS = sorted((OBSERVE / "grafana" / "dashboards").glob("*.json"))


def load(path: Path) -> dict:
    return json.loads(path.read_text())


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (title of the panel, expression as it is written) of each query."""
    for panel in load(path)["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def filled(expression: str, interval: str = "1m", bundle: str = ".*") -> str:
    """Returns an expression as Grafana sends it: with values in place of its variables."""
    return expression.replace("$__rate_interval", interval).replace("$bundle", bundle)
