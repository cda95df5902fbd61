"""How a prompt is taken apart, with a text encoder that knows what it scores."""

from models.prompt_words import MAX_WORDS, understand


def scores_of(prompts):
    """Scores haze by "fog", noise by "grain", a little of either by "thick"."""
    asked.extend(prompts)
    return [
        {"haze": 0.7 * ("fog" in prompt) + 0.1 * ("thick" in prompt), "noise": 0.3 * ("grain" in prompt), "clean": 0.5}
        for prompt in prompts
    ]


asked: list[str] = []


def test_the_label_is_the_best_of_all_names_also_clean():
    understood = understand("remove the thick fog", scores_of)
    assert (understood.label, round(understood.score, 3)) == ("haze", 0.8)
    assert understood.ignored == ("remove", "the")
    assert understand("a thick book", scores_of).label == "clean"


def test_a_single_word_is_never_ignored():
    assert understand("fog", scores_of).ignored == ()


def test_a_long_prompt_is_scored_once():
    asked.clear()
    assert understand("fog " * (MAX_WORDS + 1), scores_of, "label").used == "label"
    assert len(asked) == 1
