"""Repairs are done in the order that a prompt asks for, whatever its order of words is."""

import itertools

import pytest

from models.words.wish import understand_wish

STEPS = {
    "en": {"noise": "removing the noise", "haze": "removing the fog", "blur": "sharpening", "low-light": "brightening"},
    "de": {"noise": "Entrauschen", "low-light": "Aufhellen", "low-resolution": "Vergrößern"},
    "fr": {"noise": "enlever le bruit", "haze": "enlever la brume", "low-resolution": "agrandir la photo"},
    "es": {"noise": "quitar el ruido", "rain": "quitar la lluvia", "low-resolution": "ampliar la foto"},
    "pt": {"noise": "tirar o ruído", "rain": "tirar a chuva", "low-resolution": "ampliar a foto"},
    "it": {"noise": "togliere il rumore", "rain": "togliere la pioggia", "low-resolution": "ingrandire la foto"},
    "ru": {"noise": "убрать шум", "rain": "убрать дождь", "low-resolution": "увеличить фото"},
    "zh": {"noise": "去掉噪点", "haze": "去雾", "low-light": "提亮", "low-resolution": "放大"},
    "ja": {"noise": "ノイズを除去", "haze": "霧を除去", "low-resolution": "拡大", "rain": "雨を除去"},
    "ko": {"noise": "노이즈를 제거", "haze": "안개를 제거", "low-resolution": "확대", "rain": "빗줄기를 제거"},
}
LATER_FIRST = {
    "en": ("before {1}, start {0}", "{1} after {0}, please"), "de": ("vor dem {1} bitte {0}", "{1} nach dem {0}"),
    "fr": ("avant de {1}, {0}", "{1} après {0}"), "es": ("antes de {1}, {0}", "{1} después de {0}"),
    "pt": ("antes de {1}, {0}", "{1} depois de {0}"), "it": ("prima di {1}, {0}", "{1} dopo aver fatto: {0}"),
    "ru": ("прежде чем {1}, {0}", "перед тем как {1}, {0}"), "zh": ("{1}之前先{0}", "在{1}之前，请{0}"),
    "ja": ("{1}する前に{0}してください", "{1}する前に、まず{0}して"),
    "ko": ("{1}하기 전에 {0}해줘", "{1}하기 전에 먼저 {0}해 주세요"),
}  # fmt: skip
"""Prompts that name the second step before the first one."""


@pytest.mark.parametrize("language", STEPS)
def test_what_comes_before_is_done_before(language):
    wrong = [
        (prompt, understand_wish(prompt).repairs)
        for one, other in itertools.permutations(STEPS[language], 2)
        for pattern in LATER_FIRST[language]
        for prompt in [pattern.format(STEPS[language][one], STEPS[language][other])]
        if understand_wish(prompt).repairs != (one, other)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("prompt", "repairs"),
    [
        ("I see fog and grain. Remove the former.", ("haze",)),
        ("I see fog and grain. Remove the latter.", ("noise",)),
        ("I see fog and grain. Keep the latter, remove the former.", ("haze",)),
        ("Remove the former.", ()),
    ],
)
def test_the_former_and_the_latter_are_what_was_named_before(prompt, repairs):
    assert understand_wish(prompt).repairs == repairs


def test_what_may_come_of_a_damage_is_dark_only_where_nothing_else_is_named():
    assert understand_wish("you can barely see").repairs == ("low-light",)
    assert understand_wish("so much snow that you can barely see the house").repairs == ("snow",)
