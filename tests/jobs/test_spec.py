import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.errors import NewerSpec, SpecError
from jobs.spec import JobControls, JobSpec, Output, Source, load_spec

GOLDEN = Path(__file__).parent / "golden" / "spec-v1.json"
WRITTEN = json.loads(GOLDEN.read_text())
EVERYTHING = JobSpec(
    id="00112233445566778899aabbccddeeff",
    bundle="autodir-small",
    lane="interactive",
    controls=JobControls(
        prompt="remove the rain, please", only=("rain", "haze"), skip=("noise",), strength=0.75, fidelity=0.5,
        color_fix=True, max_passes=3, steps=40, seed=2**63 - 1,
    ),
    source=Source(
        blob="00112233445566778899aabbccddeeff/input", bytes=123456, format="jpeg", width_px=4000, height_px=3000,
        sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ),
    output=Output(format="webp", quality=90, metadata=False, passes=False),
    submitted_ms=1_760_000_000_000,
    deadline_ms=1_760_000_060_000,
    keep_s=3600,
    owner="0123456789ab",
    labels={"album": "summer"},
    store=False,
    batch="ffeeddccbbaa99887766554433221100",
    file_name="Holiday 2019",
)  # fmt: skip
LEAST = {"id": "0" * 32, "bundle": "autodir-small", "submitted_ms": 1}


def changed(path: str, value: object) -> str:
    """The golden spec with one field set to another value."""
    spec = json.loads(GOLDEN.read_text())
    *rooms, name = path.split(".")
    inner = spec
    for room in rooms:
        inner = inner[room]
    inner[name] = value
    return json.dumps(spec)


def test_a_spec_is_written_as_the_golden_file_of_version_1():
    assert json.loads(EVERYTHING.dump()) == WRITTEN


def test_a_spec_of_version_1_is_still_read():
    assert load_spec(GOLDEN.read_bytes()) == EVERYTHING


NEWER = {
    "strength": {"noise": 0.5}, "preset": "strong", "scale": 2, "crop": (1, 2, 3, 4), "variants": 2,
}  # fmt: skip
V2_GOLDEN = Path(__file__).parent / "golden" / "spec-v2.json"


@pytest.mark.parametrize("name", NEWER)
def test_a_spec_is_of_version_2_only_if_it_asks_for_what_version_1_does_not_know(name):
    """Workers of an earlier version run the others, and refuse these by their version alone."""
    spec = JobSpec(**LEAST, controls=JobControls(**{name: NEWER[name]}))
    written = json.loads(spec.dump())
    assert (spec.version, written["version"]) == (2, 2)
    assert load_spec(spec.dump()) == spec
    least = json.loads(JobSpec(**LEAST, version=2).dump())
    assert least["version"] == 1 and set(least["controls"]) == set(WRITTEN["controls"])


def test_only_the_best_effort_of_a_prompt_needs_a_newer_worker():
    plain, best = (JobControls(prompt="remove the rain", best_effort=effort) for effort in (False, True))
    assert (plain.version, best.version) == (1, 2) and "best_effort" not in plain.model_dump()
    spec = JobSpec(**LEAST, controls=best)
    assert load_spec(spec.dump()) == spec and spec.controls.best_effort


def test_a_spec_of_version_2_is_written_and_read_as_the_golden_file():
    spec = JobSpec(**LEAST, controls=JobControls(**NEWER))
    assert json.loads(spec.dump()) == json.loads(V2_GOLDEN.read_text())
    assert load_spec(V2_GOLDEN.read_bytes()) == spec


def test_a_worker_holds_the_largest_image_of_a_job():
    source = {"blob": "0" * 32 + "/input", "bytes": 1, "sha256": "", "format": "png", "width_px": 2000}
    spec = {**LEAST, "source": {**source, "height_px": 1000}}
    assert JobSpec(**spec).held_megapixels == 2
    assert JobSpec(**spec, controls=JobControls(scale=2)).held_megapixels == 8
    assert JobSpec(**spec, controls=JobControls(crop=(0, 0, 500, 1000))).held_megapixels == 2
    assert JobSpec(**spec, controls=JobControls(scale=4, crop=(0, 0, 500, 1000))).held_megapixels == 8
    assert JobSpec(**LEAST).held_megapixels == 0


def test_a_spec_survives_writing_and_reading():
    assert load_spec(EVERYTHING.dump()) == EVERYTHING
    least = JobSpec(**LEAST)
    assert load_spec(least.dump()) == least


def test_a_field_that_is_not_given_has_its_default():
    least = load_spec(json.dumps(LEAST))
    assert (least.kind, least.lane, least.source, least.deadline_ms, least.owner, least.file_name) == (
        "restore", "standard", None, None, None, None,
    )  # fmt: skip
    assert (least.controls, least.output, least.keep_s) == (JobControls(), Output(), 86_400)


def test_a_jobs_queue_is_its_bundle_and_lane():
    assert EVERYTHING.queue == "autodir-small.interactive"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("controls.color", "blue"),
        ("source.color", "blue"),
        ("output.color", "blue"),
        ("version", 3),
        ("version", "1"),
        ("id", "0" * 31),
        ("id", "0" * 32 + "\n"),
        ("id", "../../etc/passwd"),
        ("id", "A" * 32),
        ("kind", "train"),
        ("lane", "express"),
        ("submitted_ms", "yesterday"),
        ("keep_s", 0),
        ("controls.prompt", "x" * 1001),
        ("controls.only", ["rain"] * 33),
        ("controls.strength", 1.01),
        ("controls.strength", -0.01),
        ("controls.fidelity", 2),
        ("controls.max_passes", 0),
        ("controls.max_passes", 101),
        ("controls.steps", 0),
        ("controls.steps", 1001),
        ("controls.seed", -1),
        ("controls.seed", 2**63),
        ("controls.strength", {}),
        ("controls.strength", {"noise": 1.01}),
        ("controls.strength", {str(number): 1 for number in range(33)}),
        ("controls.preset", "best"),
        ("controls.scale", 3),
        ("controls.crop", [0, 0, 0, 1]),
        ("controls.crop", [-1, 0, 1, 1]),
        ("controls.crop", [0, 0, 1]),
        ("controls.variants", 0),
        ("controls.variants", 5),
        ("output.format", "bmp"),
        ("output.quality", 0),
        ("output.quality", 101),
    ],
)
def test_an_unknown_or_out_of_range_field_is_refused_by_name(field, value):
    with pytest.raises(SpecError, match=field.replace(".", r"\.")):
        load_spec(changed(field, value))


def test_a_field_of_the_job_itself_that_is_unknown_is_ignored():
    """A later version may add one that does not change the result."""
    assert load_spec(changed("trace", "00-4bf9")) == EVERYTHING


@pytest.mark.parametrize(
    ("field", "value", "newer"),
    [("version", 3, True), ("controls.color", "blue", True), ("version", 0, False), ("version", "2", False),
     ("controls.steps", 0, False), ("kind", "train", False)],
)  # fmt: skip
def test_a_spec_of_a_later_version_is_told_from_one_that_is_wrong(field, value, newer):
    with pytest.raises(SpecError) as raised:
        load_spec(changed(field, value))
    assert isinstance(raised.value, NewerSpec) is newer


@pytest.mark.parametrize("field", ["id", "bundle", "submitted_ms"])
def test_a_missing_field_is_named(field):
    with pytest.raises(SpecError, match=field):
        load_spec(json.dumps({name: value for name, value in LEAST.items() if name != field}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_refused(number):
    text = GOLDEN.read_text().replace('"strength": 0.75', f'"strength": {number}')
    with pytest.raises(SpecError):
        load_spec(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"spec"', b"\xff\xfe", "[" * 100_000])
def test_text_that_is_not_a_spec_is_refused(text):
    with pytest.raises(SpecError):
        load_spec(text)


@pytest.mark.parametrize("part", [EVERYTHING, EVERYTHING.controls, EVERYTHING.source, EVERYTHING.output])
def test_a_spec_cannot_be_changed(part):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(part, next(iter(type(part).model_fields)), None)


ID = EVERYTHING.id
HOSTILE = [
    "", "/etc/passwd", "../../../../etc/passwd", ID + "/../../etc/passwd", ID + "/..", ID + "/.", ID + "/", ID,
    ID + "//input", "f" * 32 + "/input", ID + "x/input", ID + "/in\0put", ID + "/input\n",
    ID + "/in put", ID + "/%2e%2e",
    "http://host/" + ID, "file:///etc/passwd", ID + "/" + "x" * 5000, ID + "/\u0661", ID + "\\input", ".", "..", "~",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_spec_cannot_name_anything_but_a_blob_of_its_own_job(name):
    with pytest.raises(SpecError, match=r"source\.blob"):
        load_spec(changed("source.blob", name))


@pytest.mark.parametrize("name", [5, None, ["a"], {"a": 1}, True, 1.5])
def test_the_name_of_a_blob_is_text(name):
    with pytest.raises(SpecError, match=r"source\.blob"):
        load_spec(changed("source.blob", name))


@given(st.text(max_size=30) | st.from_regex(r"[./a-z0-9_-]{0,20}", fullmatch=True))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_a_name_that_is_accepted_stays_below_the_folder_of_its_job(tail):
    """The oracle is the file system's own reading of the path."""
    try:
        name = load_spec(changed("source.blob", f"{ID}/{tail}")).source.blob
    except SpecError:
        return
    root = "/store"
    assert os.path.normpath(os.path.join(root, name)).startswith(f"{root}/{ID}/")
    assert os.path.normpath(name) == name and name.isascii() and name.isprintable()


@pytest.mark.parametrize(
    "field", ["submitted_ms", "deadline_ms", "keep_s", "source.bytes", "source.width_px", "source.height_px"]
)
@pytest.mark.parametrize("value", [-1, 10**400])
def test_a_number_that_no_clock_and_no_counter_holds_is_refused(field, value):
    with pytest.raises(SpecError):
        load_spec(changed(field, value))
