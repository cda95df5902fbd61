"""Leaves out of a bundle what it does not need: rows of untrained tokens, copies of specialists, half of AIR's bits.

    tokens       rows of the text encoder: those of `kept_tokens`, and one row for all others
    specialists  a branch of the assessor that equals a specialist refers to its file (models.autodir.clip_weights)
    8 bits       the networks of EIGHT_BIT; pictures change by a level of 255 at most (docs/decisions/0051)

What a bundle has saved already stays as it is, and so do bundles of the published sizes: their text encoders have
learned every token, and nobody has measured their AIR in 8 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.autodir.clip_weights import BRANCH, CLIP
from models.bundle import Manifest
from models.eight_bit import SCALE, in_eight_bits
from models.networks.clip import VOCABULARY, TextConfig
from models.networks.token_table import compact
from models.training.core.kept_tokens import kept_tokens

EIGHT_BIT = ("air",)
SMALL_WIDTH = 128
"""The width of the text encoders that we train; published ones have 512 or more."""
SPECIALIST = "specialist-"
EMBEDDING, TABLE = "token_embedding.weight", "token_embedding."
Networks = dict[str, Mapping[str, Tensor]]
"""The tensors of each part of a bundle."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part of a bundle has a text encoder: its CLIP in the manifest's networks, and its tensors' prefix."""

    keys: tuple[str, ...]
    prefix: str


TEXT_ENCODERS = {CLIP: Place(keys=(CLIP,), prefix=""), "daclip": Place(keys=("controller", "clip"), prefix="clip.")}


@dataclass(frozen=True, kw_only=True)
class Slimmed:
    """A manifest and the tensors to write with it, and a sentence on each saving."""

    manifest: Manifest
    networks: Networks
    notes: tuple[str, ...]


def slimmed(manifest: Manifest, networks: Mapping[str, Mapping[str, Tensor]]) -> Slimmed:
    """Returns the bundle to write in half precision; `networks` are all parts, as stored or in float32."""
    result = Slimmed(manifest=manifest, networks=dict(networks), notes=())
    for part, place in TEXT_ENCODERS.items():
        if part in networks and _width(manifest, place.keys) <= SMALL_WIDTH:
            result = _eight_bits(_fewer_tokens(result, part, place))
    if (manifest.networks.get(CLIP) or {}).get("tower"):
        result = _shared_branches(result)
    return result


def _width(manifest: Manifest, keys: tuple[str, ...]) -> int:
    stated = _at(manifest.networks, (*keys, "text")).get("width")
    return TextConfig().width if stated is None else int(stated)


def _fewer_tokens(bundle: Slimmed, part: str, place: Place) -> Slimmed:
    clip, prefix = _at(bundle.manifest.networks, place.keys), place.prefix
    text, state = clip.get("text", {}), dict(bundle.networks[part])
    whole = state.get(prefix + EMBEDDING)
    if text.get("kept_tokens") is not None or whole is None or len(whole) != VOCABULARY:
        return bundle
    prompts = [entry.prompt for entry in bundle.manifest.degradations]  # with those of learned words
    table = compact(whole, kept_tokens(prompts))
    del state[prefix + EMBEDDING]
    state |= {prefix + TABLE + name: value for name, value in table.items()}
    kept = len(table["ids"])
    changed = {**clip, "text": {**text, "kept_tokens": kept}}
    return _with(bundle, part, state, place.keys, changed, f"{kept} of {len(whole)} tokens keep a row of their own")


def _shared_branches(bundle: Slimmed) -> Slimmed:
    """Let the branches of the assessor that equal a specialist refer to it."""
    clip = bundle.manifest.networks[CLIP]
    tower, state, notes = clip["tower"], dict(bundle.networks[CLIP]), []
    count = len(tower["branches"])
    parts = [*tower.get("parts", ()), *[""] * count][:count]
    for index in (index for index in range(count) if not parts[index]):
        prefix = f"{BRANCH}{index}."
        branch = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        equal = [
            part for part, tensors in bundle.networks.items() if part.startswith(SPECIALIST) and _equal(branch, tensors)
        ]
        if not equal:
            notes.append(f"the assessor keeps branch {index}: no specialist equals it")
            continue
        parts[index] = equal[0]
        state = {name: value for name, value in state.items() if not name.startswith(prefix)}
        notes.append(f"branch {index} of the assessor is {equal[0]}")
    changed = {**clip, "tower": {**tower, "parts": parts}}
    return _with(bundle, CLIP, state, (CLIP,), changed, *notes)


def _eight_bits(bundle: Slimmed) -> Slimmed:
    networks, notes = dict(bundle.networks), []
    for part in (part for part in EIGHT_BIT if part in networks):
        if not any(name.endswith(SCALE) for name in networks[part]):
            networks[part] = in_eight_bits(networks[part])
            notes.append(f"{part} is stored in 8 bits")
    return Slimmed(manifest=bundle.manifest, networks=networks, notes=(*bundle.notes, *notes))


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Returns whether two networks are the same in half precision, in which they are stored."""
    return one.keys() == other.keys() and all(torch.equal(one[name].half(), other[name].half()) for name in one)


def _at(networks: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    found: Any = networks
    for key in keys:
        found = found.get(key) or {}
    return dict(found)


def _with(
    bundle: Slimmed, part: str, state: Mapping[str, Tensor], keys: tuple[str, ...], value: object, *notes: str
) -> Slimmed:
    """Returns the bundle with other tensors of a part, and the value at `keys` of the manifest's networks."""
    for depth in range(len(keys) - 1, -1, -1):
        value = {**_at(bundle.manifest.networks, keys[:depth]), keys[depth]: value}
    return Slimmed(
        manifest=bundle.manifest.model_copy(update={"networks": value}), networks={**bundle.networks, part: state},
        notes=(*bundle.notes, *notes),
    )  # fmt: skip
