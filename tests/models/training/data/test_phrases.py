"""Users' phrasings: each name has many, and no held-out phrasing is used for training."""

from collections import Counter

import numpy as np
import pytest

from models.training.autodir.autodir_small import NAMES as AUTODIR
from models.training.data.phrases import (
    ADJECTIVES,
    COMMANDS,
    COMPLAINTS,
    HELD_OUT,
    NOUNS,
    PLACES,
    STATES,
    VERBS,
    phrase,
)
from models.vocabulary import CLEAN, DACLIP_WORDS, NOTHING, degradation, names

NAMES = tuple(dict.fromkeys((*AUTODIR, *names(DACLIP_WORDS))))
"""The names that the text encoders of both small families learn."""

DRAWS = 20_000


@pytest.fixture(scope="module")
def draws():
    """(name, phrase), the names in turn."""
    rng = np.random.default_rng(0)
    return [(NAMES[i % len(NAMES)], phrase(NAMES[i % len(NAMES)], rng)) for i in range(DRAWS)]


def phrasings_of(name):
    """All phrasings of a name in the grammar, without typing errors."""
    if name == CLEAN:
        return {NOTHING.prompt} | {order + place for order in COMMANDS[name] for place in PLACES}
    nouns, articles = NOUNS[name], ("the ", "", "all the ", "this ")
    return (
        {degradation(name).prompt}
        | {order + place for order in COMMANDS[name] for place in PLACES}
        | {f"{verb} {article}{noun}{at}" for verb in VERBS for article in articles for noun in nouns for at in PLACES}
        | {complaint.format(noun) + place for complaint in COMPLAINTS for noun in nouns for place in PLACES}
        | {state.format(adjective) for state in STATES for adjective in ADJECTIVES[name]}
    )


@pytest.fixture(scope="module")
def grammar():
    return {name: phrasings_of(name) for name in NAMES}


def test_every_name_of_the_small_bundles_has_words(draws):
    assert set(COMMANDS) == set(NAMES)
    assert set(NOUNS) == set(ADJECTIVES) == set(NAMES) - {CLEAN}
    assert {name for name, _ in draws} == set(NAMES)
    assert all(text.strip() for _, text in draws)


def test_a_learned_degradation_is_asked_for_by_its_own_words():
    said = {phrase("lens-flare", np.random.default_rng(seed)) for seed in range(100)}
    assert len(said) > 30
    assert sum("lens flare" in text for text in said) > 0.9 * len(said)  # some have a typing error


def test_the_same_seed_draws_the_same_phrases():
    def said(seed):
        rng = np.random.default_rng(seed)
        return [phrase(name, rng) for name in NAMES for _ in range(20)]

    assert said(3) == said(3)
    assert said(3) != said(4)


def test_draws_are_phrasings_of_the_grammar_with_a_typing_error_in_one_of_twenty(draws, grammar):
    others = [(name, text) for name, text in draws if text not in grammar[name]]
    # a swap of two equal letters shows nothing, so the share seen is a little under 5 %
    assert 0.035 < len(others) / DRAWS < 0.06
    for name, text in others:
        swaps = (text[:i] + text[i + 1] + text[i] + text[i + 2 :] for i in range(len(text) - 1))
        assert any(swap in grammar[name] for swap in swaps), text


def test_draws_are_varied(draws):
    for name in NAMES:
        said = Counter(text for label, text in draws if label == name)
        prompt = (NOTHING if name == CLEAN else degradation(name)).prompt
        share = said.pop(prompt) / (DRAWS / len(NAMES))
        assert 0.06 < share < 0.13, name  # one in ten is the class prompt itself, typing errors apart
        assert len(said) > (100 if name == CLEAN else 800), name
        if name != CLEAN:
            assert max(said.values()) < 0.05 * DRAWS / len(NAMES), name


def test_no_phrase_belongs_to_two_names(grammar):
    """The text encoder would learn both names."""
    owners = Counter(text for texts in grammar.values() for text in texts)
    assert [text for text, count in owners.items() if count > 1] == []


def test_no_held_out_phrasing_is_ever_drawn(draws, grammar):
    held_out = {text.lower() for text, _ in HELD_OUT}
    assert held_out.isdisjoint(text.lower() for _, text in draws)
    for texts in grammar.values():
        assert held_out.isdisjoint(text.lower() for text in texts)


def test_no_held_out_phrasing_is_a_typing_error_away_from_the_grammar(grammar):
    taught = {text.lower() for texts in grammar.values() for text in texts}
    for text, _ in HELD_OUT:
        swaps = {text[:i] + text[i + 1] + text[i] + text[i + 2 :] for i in range(len(text) - 1)}
        assert taught.isdisjoint(swap.lower() for swap in swaps), text


def test_held_out_phrasings_cover_every_name_evenly_and_have_no_duplicates():
    counts = Counter(name for _, name in HELD_OUT)
    assert set(counts) == set(NAMES)
    assert len(HELD_OUT) >= 125
    assert min(counts.values()) >= 8
    assert max(counts.values()) <= 2 * min(counts.values())
    assert len({text.lower() for text, _ in HELD_OUT}) == len(HELD_OUT)


def test_the_three_phrasings_of_the_specification_are_used_for_training(grammar):
    assert "get rid of the grain" in grammar["noise"]
    assert "too dark" in grammar["low-light"]
    assert "wash the fog away" in grammar["haze"]
