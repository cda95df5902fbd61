"""docs/kubernetes.md names what exists: overlays, components, objects; and its examples can be rendered."""

import os
import re
import shlex

import pytest
import yaml
from manifests import K8S, OVERLAYS, RENDERINGS, ROOT, build, find, name_of, operators_page, rendered

PAGE = operators_page()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = [text for language, text in BLOCKS if language == "yaml"]
COMMANDS = [line.strip() for language, text in BLOCKS if language == "sh" for line in
            text.replace("\\\n", " ").splitlines()]  # fmt: skip


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_an_overlay_can_be_rendered(text, tmp_path):
    folder = tmp_path.resolve()
    (folder / "kustomization.yaml").write_text(text.replace("../undegrade/", os.path.relpath(ROOT, folder) + "/"))
    objects, example = build(folder), yaml.safe_load(text)
    images = {image["name"]: image["newName"] for image in example.get("images", [])}
    names = re.findall(r"image: (\S+)", yaml.safe_dump_all(objects))
    for name, renamed in images.items():
        assert any(one.startswith(renamed) for one in names) and not any(one.startswith(name + ":") for one in names)
    for patch in example.get("patches", []):
        change = yaml.safe_load(patch["patch"])
        changed = find(objects, change["kind"], change["metadata"]["name"])
        assert change["data"].items() <= changed["data"].items()
        assert re.fullmatch(r"undegrade-[a-z0-9]{10}", changed["metadata"]["name"]), "a change restarts the pods"


def test_every_overlay_has_a_row_and_every_row_an_overlay():
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.partition("\n## ")[0], re.MULTILINE)) == set(OVERLAYS)


def test_every_component_is_described():
    folders = {folder.name for folder in (K8S / "components").iterdir() if folder.is_dir()}
    named = set(re.findall(r"`(?:components/)?([a-z0-9-]+)`", PAGE))
    assert folders - {"gpu", "mig", "keda"} <= named, "gpu, mig and keda are overlays, too"


def test_every_object_of_a_command_exists():
    names = {f"{kind.lower()}/{name}" for one in RENDERINGS for kind, name in
             [name_of(object_).split() for object_ in rendered(one)]}  # fmt: skip
    used = {word.replace("svc/", "service/") for line in COMMANDS if line.startswith("kubectl") or "$(kubectl" in line
            for word in re.findall(r"\b(?:deployment|svc|statefulset)/[a-z-]+", line)}  # fmt: skip
    assert used and used <= names


def test_every_folder_of_a_command_exists():
    folders = {word for line in COMMANDS for word in shlex.split(line, comments=True) if word.startswith("deploy/")}
    assert folders and all((ROOT / folder).exists() for folder in folders)


def test_the_objects_that_the_operator_brings_are_used():
    """Rows without use would send an operator to make an object for nothing."""
    rows = re.findall(r"^\| (Secret|ConfigMap) `([a-z0-9-]+)`", PAGE, re.MULTILINE)
    text = "".join(yaml.safe_dump_all(rendered(name)) for name in RENDERINGS)
    assert all(re.search(rf"name: {name}$", text, re.MULTILINE) for _, name in rows) and len(rows) == 4
