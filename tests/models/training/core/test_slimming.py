"""What a bundle leaves out, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tower_bundle import CLIP, tower_bundle

from models.eight_bit import SCALE, from_eight_bits
from models.networks.clip import END_OF_TEXT, ClipConfig, build_clip, text_states, tokenize
from models.training.core.kept_tokens import FREQUENT, kept_tokens
from models.training.core.slimming import slimmed
from models.training.data.phrases import COMMANDS, NOUNS, phrase


def test_every_token_of_a_training_phrase_keeps_its_row():
    kept = set(kept_tokens().tolist())
    assert END_OF_TEXT in kept and set(range(FREQUENT)) <= kept
    rng = np.random.default_rng(0)
    drawn = tokenize([phrase(name, rng) for name in COMMANDS for _ in range(40)]).tolist()
    lost = [tokens for tokens in drawn if not set(tokens) <= kept]
    assert len(lost) < 0.05 * len(drawn), "only typing errors make other tokens, in one phrase of twenty at most"
    nouns = [f"remove the {noun}" for words in NOUNS.values() for noun in words]
    assert set(tokenize(nouns).flatten().tolist()) <= kept


def test_the_class_prompts_are_read_as_before():
    manifest, networks = tower_bundle()
    smaller = slimmed(manifest, networks)
    count = smaller.manifest.networks["clip"]["text"]["kept_tokens"]
    assert count == len(smaller.networks["clip"]["token_embedding.ids"]) < 6000
    prompts = tokenize([entry.prompt for entry in manifest.degradations])
    states = []
    for bundle, text in ((networks, CLIP.text), (smaller.networks, replace(CLIP.text, kept_tokens=count))):
        clip = build_clip(replace(CLIP, tower=None, text=text))
        clip.load_state_dict(
            {name: value for name, value in bundle["clip"].items() if not name.startswith("visual.")}, strict=False
        )
        states.append(text_states(clip, prompts, masked=True))
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_a_learned_word_keeps_its_row():
    manifest, networks = tower_bundle()
    word = "zwieback"
    own = manifest.degradations[0].model_copy(update={"name": word, "prompt": f"A photo needs {word}"})
    learned = manifest.model_copy(update={"degradations": (*manifest.degradations, own)})
    tokens = set(tokenize([word]).flatten().tolist())
    for bundle, kept in ((manifest, False), (learned, True)):
        ids = set(slimmed(bundle, networks).networks["clip"]["token_embedding.ids"].tolist())
        assert (tokens <= ids) == kept


def test_only_the_branch_that_equals_a_specialist_refers_to_it():
    manifest, networks = tower_bundle()
    smaller = slimmed(manifest, networks)
    assert smaller.manifest.networks["clip"]["tower"]["parts"] == ["specialist-detail", ""]
    left = {name.split(".")[2] for name in smaller.networks["clip"] if name.startswith("visual.branches.")}
    assert left == {"1"}
    assert any("keeps branch 1" in note for note in smaller.notes)
    networks["specialist-weather"] = {
        name.removeprefix("visual.branches.1."): value
        for name, value in networks["clip"].items()
        if name.startswith("visual.branches.1.")
    }
    assert slimmed(manifest, networks).manifest.networks["clip"]["tower"]["parts"] == [
        "specialist-detail", "specialist-weather",
    ]  # fmt: skip


def test_air_is_stored_in_8_bits_and_everything_else_as_it_was():
    manifest, networks = tower_bundle()
    smaller = slimmed(manifest, networks).networks
    assert {part for part, state in smaller.items() if any(name.endswith(SCALE) for name in state)} == {"air"}
    read = from_eight_bits(smaller["air"])
    assert read.keys() == networks["air"].keys()
    for name, value in networks["air"].items():
        torch.testing.assert_close(read[name], value, rtol=0, atol=float(value.abs().max()) / 250)
    for part in ("scm", "specialist-detail", "specialist-weather"):
        assert smaller[part] is networks[part]


def test_a_second_time_changes_nothing():
    once = slimmed(*tower_bundle())
    twice = slimmed(once.manifest, once.networks)
    assert twice.manifest == once.manifest
    assert twice.networks.keys() == once.networks.keys()
    for part, state in once.networks.items():
        assert all(value is twice.networks[part][name] for name, value in state.items())


@pytest.mark.parametrize("stated", [{"width": 512}, {}], ids=["B/32", "the defaults of the manifest"])
def test_a_published_text_encoder_keeps_all_its_tokens_and_air_its_bits(stated):
    manifest, networks = tower_bundle()
    assert ClipConfig().text.width > 128
    clip = {**manifest.networks["clip"], "text": stated, "tower": None}
    published = manifest.model_copy(update={"networks": {**manifest.networks, "clip": clip}})
    smaller = slimmed(published, networks)
    assert smaller.manifest == published and smaller.notes == ()
    assert all(smaller.networks[part] is networks[part] for part in networks)
