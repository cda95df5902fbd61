"""Write the tables of docs/metrics.md from jobs/metric_table.py (`make metrics-page`).

Example: python docs/make_metrics.py
"""

from pathlib import Path

from jobs.metric_table import LABELS, MetricSpec, Process, of_process

PAGE = Path(__file__).with_name("metrics.md")
MARKS: dict[Process, str] = {"api": "the API", "worker": "a worker"}


def table(process: Process) -> str:
    """Returns the table of the metrics of one process."""
    rows = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(spec) for spec in of_process(process))])


def _row(spec: MetricSpec) -> str:
    labels = ", ".join(f"`{label}`" for label in spec.labels)
    return f"| `{spec.name}` | {spec.kind} | {spec.unit} | {labels} | {spec.help.replace('|', '/')} |"


def labels() -> str:
    """Returns the table of the labels and their values."""
    return "\n".join(["| label | values |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in LABELS.items())])


def updated(page: str) -> str:
    """Returns the page with new tables between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    parts = {**{name: table(name) for name in MARKS}, "labels": labels()}
    for name, text in parts.items():
        start, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
        if start not in page:
            raise ValueError(f"{PAGE.name} has no line {start.strip()}")
        before, after = page.split(start, 1)
        page = f"{before}{start}{text}\n{after[after.index(end) :]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
