"""Shows how far a download or a conversion is: as a bar, as lines where there is no terminal, or as JSON on stdout."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cli.console import print_json_line, print_message, stderr_is_terminal
from cli.progress import OnBytes, byte_progress

LINE_EVERY_S = 5.0
ROW_EVERY_S = 1.0
DOWNLOAD, CONVERT = "download", "convert"


@dataclass(frozen=True, kw_only=True)
class PullProgress:
    """The progress of one `pull`; with `as_json`, each event is a line on stdout."""

    as_json: bool

    @contextmanager
    def stage(self, stage: str, name: str) -> Iterator[OnBytes]:
        """Show one stage; `name` is the file or the bundle."""
        with byte_progress(name if stage == DOWNLOAD else f"converting {name}") as draw:
            shown_s, shown = time.monotonic(), -1

            def on_bytes(done: int, total: int) -> None:
                nonlocal shown_s, shown
                draw(done, total)
                now_s = time.monotonic()
                if done == shown or not (done >= total or now_s - shown_s >= self._every_s or shown < 0):
                    return
                shown_s, shown = now_s, done
                if self.as_json:
                    self.event("progress", stage=stage, name=name, bytes=done, total_bytes=total)
                elif not stderr_is_terminal() and done > 0:
                    print_message(f"{stage} of {name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")

            yield on_bytes

    @property
    def _every_s(self) -> float:
        return ROW_EVERY_S if self.as_json else LINE_EVERY_S

    def event(self, event: str, **fields: object) -> None:
        """Print an event as a JSON object; nothing without `as_json`."""
        if self.as_json:
            print_json_line({"event": event, **fields})
