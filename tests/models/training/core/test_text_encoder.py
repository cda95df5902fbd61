"""The training of the text encoder: each term of its loss, the parameters that it changes, and that it learns."""

import math

import numpy as np
import pytest
import torch

from models.autodir.assessor import prompt_of
from models.errors import TrainingError
from models.networks.clip import END_OF_TEXT, ClipConfig, TextConfig, VisionConfig, build_clip, text_states, tokenize
from models.training.core.text_encoder import (
    class_embeddings,
    end_states,
    load_text_encoder,
    replace_random_words,
    score,
    text_loss,
    text_parameters,
    train_text_encoder,
)
from models.training.core.trainer import save_weights
from models.training.data.phrases import HELD_OUT

NAMES = ("noise", "low-light", "snow")
CLASSES = {name: prompt_of(name) for name in NAMES}
CPU = torch.device("cpu")
TINY = ClipConfig(
    embed_dim=16,
    vision=VisionConfig(image_size=32, layers=1, width=16, patch_size=16, head_width=8),
    text=TextConfig(width=64, heads=4, layers=1),
)


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return build_clip(TINY)


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_the_loss_is_its_three_terms_computed_by_hand(clip):
    phrases, labels, ends = ["get rid of the grain", "brighten it"], [0, 1], [6, 3]  # a token a word, after the begin
    with torch.no_grad():
        states, pooled = text_states(clip, tokenize(phrases), masked=False)
        class_hidden, class_pooled = text_states(clip, tokenize([prompt_of(name) for name in NAMES]), masked=True)
        ours = float(text_loss(clip, CLASSES, tokenize(phrases), torch.tensor(labels)))
    entropy, distance = 0.0, 0.0
    for i, label in enumerate(labels):
        scores = [20 * cosine(pooled[i].numpy(), prompt.numpy()) for prompt in class_pooled]
        entropy += math.log(sum(map(math.exp, scores))) - scores[label]
        end = tokenize([prompt_of(NAMES[label])])[0].tolist().index(END_OF_TEXT)
        distance += 1 - cosine(states[i, ends[i]].numpy(), class_hidden[label, end].numpy())
    pairs = [(0, 1), (0, 2), (1, 2)]
    apart = [max(0.0, cosine(class_pooled[a].numpy(), class_pooled[b].numpy()) - 0.3) for a, b in pairs]
    assert ours == pytest.approx(entropy / 2 + 0.5 * distance / 2 + sum(apart) / 3, rel=1e-4)


def test_an_encoder_with_equal_features_has_the_loss_of_guessing_and_of_closeness(clip):
    """The cross-entropy is log 3, states are equal, and every pair exceeds the margin by 1 - 0.3."""
    with torch.no_grad():
        clip.ln_final.weight.zero_()
        clip.ln_final.bias.fill_(0.5)
        loss = text_loss(clip, CLASSES, tokenize(["denoise", "too dark"]), torch.tensor([0, 1]))
    assert float(loss) == pytest.approx(math.log(3) + 0 + 0.7, rel=1e-4)


def test_a_class_prompt_is_its_own_best_phrasing(clip):
    """The mask does not change the state of a real token, so the second term vanishes."""
    tokens = tokenize([prompt_of(name) for name in NAMES])
    with torch.no_grad():
        masked, _ = class_embeddings(clip, CLASSES, CPU)
        bare, _ = text_states(clip, tokens, masked=False)
    torch.testing.assert_close(end_states(bare, tokens), end_states(masked, tokens), atol=1e-5, rtol=1e-5)


def test_the_state_of_a_text_is_read_at_its_first_end_token():
    tokens = tokenize(["snow", "too dark"])  # begin, words, end, then padding with the end token
    states = torch.arange(77.0).view(1, 77, 1).expand(2, 77, 1)
    assert end_states(states, tokens).flatten().tolist() == [2, 3]


def test_random_words_do_not_replace_begin_end_and_padding():
    tokens = tokenize(["there is a lot of grain everywhere", "snow"])
    everything = replace_random_words(tokens, np.random.default_rng(0), share=1.0)
    words = torch.zeros_like(tokens, dtype=torch.bool)
    words[0, 1:8], words[1, 1] = True, True
    assert torch.equal(everything[~words], tokens[~words])
    assert bool((everything[words] != tokens[words]).all())
    assert int(everything[words].max()) < END_OF_TEXT - 1  # begin and end are never inserted
    assert torch.equal(replace_random_words(tokens, np.random.default_rng(0), share=0.0), tokens)


def test_about_the_given_share_of_words_is_replaced():
    tokens = tokenize(["there is a lot of grain everywhere"] * 1000)
    changed = (replace_random_words(tokens, np.random.default_rng(1), share=0.12) != tokens).sum() / (7 * 1000)
    assert float(changed) == pytest.approx(0.12, abs=5 * math.sqrt(0.12 * 0.88 / 7000))


def test_the_score_counts_correct_answers_by_name_and_lists_the_errors(clip):
    right = [(prompt_of(name), name) for name in NAMES]
    assert score(clip, CLASSES, right, CPU).accuracy == 1
    mixed = score(clip, CLASSES, [*right, (prompt_of("snow"), "noise")], CPU)
    assert mixed.accuracy == 3 / 4
    assert mixed.by_name == {"noise": 0.5, "low-light": 1.0, "snow": 1.0}
    assert mixed.errors == (f"{prompt_of('snow')} -> snow",)


def test_names_outside_the_classes_do_not_count(clip):
    result = score(clip, CLASSES, [(prompt_of("snow"), "snow"), ("fog everywhere", "haze")], CPU)
    assert result.accuracy == 1 and result.by_name == {"snow": 1.0}


@pytest.mark.slow
def test_a_tiny_encoder_learns_three_names_and_the_image_encoder_does_not_change(clip):
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    untrained, losses = score(clip, CLASSES, HELD_OUT, CPU), []
    result = train_text_encoder(
        clip, CLASSES, seed=0, steps=60, device=CPU, batch=24, report=lambda step, loss: losses.append(loss)
    )
    assert len(losses) == 60 and np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    # 45 phrasings, chance 1/3: 0.7 is over four standard deviations above chance
    assert result.accuracy > 0.7 > untrained.accuracy
    assert set(result.by_name) == set(NAMES)
    changed = {name for name, value in clip.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and changed <= set(text_parameters(clip))
    assert not any(name.startswith("visual.") or name == "logit_scale" for name in changed)


def test_the_same_seed_trains_the_same_encoder(clip):
    def trained():
        torch.manual_seed(0)
        tower = build_clip(TINY)
        train_text_encoder(tower, CLASSES, seed=5, steps=3, device=CPU, batch=8)
        return text_parameters(tower)

    once, again = trained(), trained()
    for name, value in once.items():
        torch.testing.assert_close(value, again[name], atol=1e-6, rtol=1e-5)


def test_the_text_parameters_are_all_but_image_encoder_and_temperature(clip):
    ours = set(text_parameters(clip))
    assert {"token_embedding.weight", "positional_embedding", "text_projection", "ln_final.weight"} <= ours
    assert {name for name in clip.state_dict() if name.startswith("visual.")} | {"logit_scale"} == set(
        clip.state_dict()
    ) - ours


@pytest.mark.slow
def test_an_encoder_that_keeps_its_class_prompts_moves_them_little(clip):
    """Without `keep`, the same training moves them ten times as far."""

    def moved(keep):
        torch.manual_seed(0)
        tower = build_clip(TINY)
        train_text_encoder(tower, CLASSES, seed=0, steps=30, device=CPU, batch=24)
        before = class_embeddings(tower, CLASSES, CPU)[0].detach()
        train_text_encoder(tower, CLASSES, seed=1, steps=30, device=CPU, batch=24, keep=keep)
        return float((class_embeddings(tower, CLASSES, CPU)[0] - before).detach().pow(2).mean().sqrt())

    assert moved(True) < 0.3 * moved(False)


def test_a_file_that_does_not_fit_is_refused(clip, tmp_path):
    save_weights({"other": torch.zeros(1)}, tmp_path / "text.safetensors")
    with pytest.raises(TrainingError, match="does not fit this text encoder"):
        load_text_encoder(clip, tmp_path / "text.safetensors")
    with pytest.raises(TrainingError, match="does not exist"):
        load_text_encoder(clip, tmp_path / "nowhere.safetensors")
