"""The reader of job specs: a spec is refused with one of two errors, or written as it was read."""

from jobs.errors import NewerSpec, SpecError
from jobs.spec import JobControls, JobSpec, Output, Source, load_spec

ID = "0123456789abcdef" * 2


def seeds() -> list[bytes]:
    source = Source(blob=f"{ID}/input", bytes=9, sha256="0" * 64, format="png", width_px=3, height_px=2)
    specs = [
        JobSpec(id=ID, bundle="autodir-small", submitted_ms=1),
        JobSpec(id=ID, bundle="b", submitted_ms=1, source=source, output=Output(format="jpeg", quality=90)),
        JobSpec(
            id=ID, bundle="b", submitted_ms=1, deadline_ms=9, labels={"album": "a"}, file_name="x", batch=ID,
            controls=JobControls(prompt="remove the rain", only=("rain",), strength={"rain": 0.5}, crop=(0, 0, 8, 8)),
        ),
    ]  # fmt: skip
    return [spec.dump().encode() for spec in specs] + [b'{"version": 9}']


def run(data: bytes) -> None:
    try:
        spec = load_spec(data)
    except (SpecError, NewerSpec):
        return
    written = spec.dump()
    assert load_spec(written) == spec, "a spec changes when it is written and read"
    assert spec.held_megapixels >= 0 and spec.queue
