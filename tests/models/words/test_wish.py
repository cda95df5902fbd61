"""What every prompt must hold to, whatever its words."""

import random
import sys

import pytest

from models.vocabulary import DEGRADATIONS
from models.words.wish import understand_wish

ORDERS = {
    "en": ["remove the compression artifacts", "sharpen the picture", "brighten this photograph", "please enlarge it",
           "get rid of the raindrops", "no denoising please, leave everything unchanged"],
    "de": ["entferne das Bildrauschen", "bitte das Foto aufhellen und schärfen", "das Bild vergrößern",
           "Schneeflocken entfernen"],
    "fr": ["supprime le brouillard", "éclaircir la photographie", "enlève les gouttelettes"],
    "es": ["elimina la neblina", "aclarar la fotografía", "quita los artefactos de compresión"],
    "pt": ["remova a neblina", "elimine os artefatos de compressão"],
    "it": ["rimuovi la foschia", "ingrandisci la fotografia", "elimina gli artefatti di compressione"],
    "ru": ["удали снежинки", "осветли фотографию", "увеличить разрешение"],
}  # fmt: skip
ASIAN = ["去掉噪点", "去雾", "雨を消して", "明るくして", "노이즈를 제거해 주세요", "안개 제거", "照片太暗了"]
PROMPTS = [prompt for prompts in ORDERS.values() for prompt in prompts]
POLITE = {
    "en": ("Hello, could you please ", ", thank you!"), "de": ("Hallo, könntet ihr bitte: ", ", vielen Dank!"),
    "fr": ("Bonjour, s'il vous plaît, ", ", merci beaucoup !"), "es": ("Hola, por favor, ", ", ¡muchas gracias!"),
    "pt": ("Olá, por favor, ", ", muito obrigado!"), "it": ("Ciao, per favore, ", ", grazie mille!"),
    "ru": ("Здравствуйте, пожалуйста, ", ", спасибо!"),
}  # fmt: skip


def meant(prompt: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    wish = understand_wish(prompt)
    return wish.answer, wish.repairs, wish.kept


def one_letter_off(word: str, chance: random.Random) -> str:
    """Returns a word with two neighbors swapped, one letter left out, or one doubled, never the first two."""
    at = chance.randrange(2, len(word) - 2)
    return chance.choice(
        [
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        ]
    )


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_typing_error_in_a_long_word_changes_nothing(prompt, seed):
    chance = random.Random(f"{prompt} {seed}")
    words = prompt.split(" ")
    longest = max(range(len(words)), key=lambda index: len(words[index]))
    assert len(words[longest]) >= 6
    words[longest] = one_letter_off(words[longest], chance)
    assert meant(" ".join(words)) == meant(prompt)


@pytest.mark.parametrize("prompt", PROMPTS + ASIAN)
def test_capitals_punctuation_and_spaces_change_nothing(prompt):
    assert meant(prompt)[0] != "unknown"
    for same in (
        prompt.upper(),
        prompt.capitalize(),
        f"{prompt}.",
        f"{prompt}!!!",
        f"  {prompt} ",
        f'"{prompt}"',
        f"{prompt} 🙏",
    ):
        assert meant(same) == meant(prompt), same


@pytest.mark.parametrize(("language", "prompt"), [(language, p) for language, ps in ORDERS.items() for p in ps])
def test_polite_words_change_nothing(language, prompt):
    before, after = POLITE[language]
    assert meant(f"{before}{prompt}{after}") == meant(prompt)


@pytest.mark.parametrize(("keep", "language"), [
    (", but keep the grain", "en"), (", don't touch the noise", "en"), (", aber lass das Korn", "de"),
    (", mais garde le grain", "fr"), (", pero deja el grano", "es"), (", mas mantenha o grão", "pt"),
    (", ma lascia la grana", "it"), (", но зерно оставь", "ru"),
])  # fmt: skip
def test_what_shall_be_kept_is_never_repaired(keep, language):
    for prompt in ORDERS[language]:
        if "rauschen" not in prompt and "noising" not in prompt:
            kept = understand_wish(prompt + keep)
            assert "noise" not in kept.repairs
            assert set(kept.repairs) == set(understand_wish(prompt).repairs)


@pytest.mark.parametrize("seed", range(60))
def test_random_text_is_unknown_and_raises_nothing(seed):
    chance = random.Random(seed)
    signs = [chr(chance.randrange(0x20, sys.maxunicode)) for _ in range(chance.randrange(0, 60))]
    wish = understand_wish("".join(sign for sign in signs if not "\ud800" <= sign <= "\udfff"))
    assert wish.answer == "unknown"
    assert wish.repairs == ()


@pytest.mark.parametrize(
    "prompt", ["", " ", "....", "?!", "12345", "\x00", "\x01noise"[:1], "🍕", "\ud800", "^$*", "(((("]
)
def test_a_prompt_without_words_is_unknown(prompt):
    assert understand_wish(prompt).answer == "unknown"


def test_the_words_of_the_command_line_are_understood():
    for degradation in DEGRADATIONS:
        for word in (degradation.name, *degradation.aliases):
            assert understand_wish(word).repairs == (degradation.name,), word


@pytest.mark.parametrize(("prompt", "repairs"), [
    ("remove the banding", ("banding",)),
    ("Bitte Banding und Rauschen entfernen", ("banding", "noise")),
    ("lens flare entfernen", ("lens-flare",)),
    ("去掉banding", ("banding",)),
    ("denoise it, but leave the banding", ("noise",)),
])  # fmt: skip
def test_words_that_a_bundle_learned_are_found_literally(prompt, repairs):
    assert understand_wish(prompt, extra=("banding", "lens-flare")).repairs == repairs
    assert "banding" not in understand_wish(prompt).repairs


def test_a_wish_names_what_had_no_part_in_it():
    wish = understand_wish("remove the noise for my quokka")
    assert wish.repairs == ("noise",)
    assert wish.ignored == ("quokka",)
    assert understand_wish("remove the noise").ignored == ()


def test_an_order_is_surer_than_a_mention():
    order, mention = understand_wish("remove the rain"), understand_wish("a rainy day")
    assert 0 <= mention.sure < order.sure <= 1
    assert understand_wish("blorf snazzle").sure == 0


@pytest.mark.parametrize(("prompt", "language"), [
    ("remove the noise", "en"), ("Bildrauschen entfernen", "de"), ("enlève le bruit", "fr"), ("quita la niebla", "es"),
    ("tira a neblina", "pt"), ("togli la nebbia", "it"), ("убери шум", "ru"), ("去掉噪点", "zh"),
    ("ノイズを消して", "ja"), ("노이즈 제거", "ko"),
])  # fmt: skip
def test_the_language_is_told(prompt, language):
    assert understand_wish(prompt).language == language
