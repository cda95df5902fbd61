"""Slips between two words are counted right; the oracle is the definition of the distance, by brute force."""

import itertools
import string

import pytest

from models.words.lexicon import languages
from models.words.typos import FAR, corrected, slips

WORDS = ["".join(letters) for length in range(4) for letters in itertools.product("abc", repeat=length)]


def one_slip_away(word: str) -> set[str]:
    """Returns all words that one insertion, deletion, replacement or swap of neighbors makes of a word."""
    left = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    inserted = {start + letter + end for start, end in left for letter in "abc"}
    deleted = {start + end[1:] for start, end in left if end}
    replaced = {start + letter + end[1:] for start, end in left if end for letter in "abc"}
    swapped = {start + end[1] + end[0] + end[2:] for start, end in left if len(end) > 1}
    return (inserted | deleted | replaced | swapped) - {word}


@pytest.mark.parametrize("word", ["", "a", "ab", "abc", "aab"])
def test_one_slip_is_counted_as_one(word):
    near = one_slip_away(word)
    assert {other for other in WORDS if slips(word, other) == 1} == {other for other in near if len(other) <= 3}
    assert slips(word, word) == 0


def test_words_that_differ_much_are_far_apart():
    assert slips("noise", "snowflakes") >= 2
    assert slips("abcdefgh", "stuvwxyz") >= FAR


def test_every_letter_of_a_long_word_may_be_left_out_but_the_first():
    english = languages()[0]
    word = "compression"
    for at in range(1, len(word)):
        written = word[:at] + word[at + 1 :]
        assert corrected(written, english, english.matches(written)) == word


@pytest.mark.parametrize("word", ["train", "dog", "quokka", *string.ascii_lowercase])
def test_other_words_are_left_alone(word):
    english = languages()[0]
    assert corrected(word, english, english.matches(word)) == word
