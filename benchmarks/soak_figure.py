"""Draws the series of a soak run as an SVG: one small panel for each, so that a slope shows, whatever the unit."""

from collections.abc import Iterator, Mapping, Sequence

WIDTH, HEIGHT, COLUMNS, LEFT, TOP = 300, 90, 2, 8, 22


def draw(rows: Sequence[Mapping[str, float]]) -> str:
    """Returns the figure.  Each panel spans its own values, at least 2 % of their mean, so that noise stays small."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "at_s"))
    height = HEIGHT * -(-len(names) // COLUMNS) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {height}" ',
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH * COLUMNS}" height="{height}" fill="white"/>',
    ]
    for number, name in enumerate(names):
        own = [(row["at_s"], row[name]) for row in rows if name in row]
        left, top = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
        parts += _panel(name, own, left + LEFT, top + TOP)
    end = max((row["at_s"] for row in rows), default=0) / 60
    parts.append(f'<text x="{LEFT}" y="{height - 8}">each panel: 0 to {end:.0f} minutes</text></svg>')
    return "\n".join(parts) + "\n"


def _panel(name: str, samples: Sequence[tuple[float, float]], left: float, top: float) -> Iterator[str]:
    values = [value for _, value in samples]
    unit = 2**20 if name.endswith("memory") else 1
    mean = sum(values) / len(values)
    low, high = min(values), max(values)
    spread = max(high - low, 0.02 * abs(mean), 1e-9)
    middle = (low + high) / 2
    width, height, last = WIDTH - 3 * LEFT, HEIGHT - 2 * TOP, max(at for at, _ in samples) or 1
    points = " ".join(
        f"{left + width * at / last:.1f},{top + height * (0.5 - (value - middle) / spread):.1f}"
        for at, value in samples
    )
    label = f"{name.removesuffix(' ms')}: {low / unit:.1f} to {high / unit:.1f}"
    label += " MiB" if unit > 1 else " ms" if name.endswith(" ms") else ""
    yield f'<text x="{left}" y="{top - 6}">{label}</text>'
    yield f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="#f6f6f6"/>'
    yield f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.5"/>'
