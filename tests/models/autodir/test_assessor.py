"""The blind assessor against the published numbers, and the properties of its views."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from parity_check import assert_parity
from safetensors.torch import load_file

from models.autodir.assessor import Assessor, center_crop, mixture, prompt_of
from models.controls import renormalized
from models.pixels import to_tensor
from models.vocabulary import AUTODIR_NAMES, CLEAN

NAMES = (*AUTODIR_NAMES, CLEAN)
PICTURES = ["big", "small", "odd"]


@pytest.fixture(scope="module")
def assessor(tiny_clip, tiny_clip_state):
    network = Assessor(tiny_clip, NAMES, most_views=4).eval().requires_grad_(False)
    network.clip.load_state_dict(tiny_clip_state, strict=True)
    return network


@pytest.fixture(scope="module")
def vectors(parity):
    return load_file(parity / "clip_small.safetensors")


@pytest.fixture(scope="module")
def all_vectors(shared):
    return load_file(shared / "parity" / "autodir" / "clip.safetensors")


@pytest.fixture(scope="module")
def passes(shared):
    return load_file(shared / "parity" / "autodir" / "pipeline_auto.safetensors")


def picture(vectors, name):
    return to_tensor(vectors[f"{name}.image_u8"].numpy())


def normalized(assessor, crop):
    mean, std = (torch.tensor(value)[:, None, None] for value in (assessor.config.mean, assessor.config.std))
    return (crop - mean) / std


def named(row):
    return dict(zip(NAMES, row.tolist(), strict=True))


def assert_same_probabilities(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=tolerance)


def test_the_strict_view_of_a_small_picture_is_the_published_one(assessor, vectors):
    crop = center_crop(picture(vectors, "small"), 224)
    assert_parity(normalized(assessor, crop), vectors["small.pixel_values"][0])


@pytest.mark.parametrize("name", PICTURES)
def test_every_strict_view_is_the_published_one(assessor, all_vectors, name):
    crop = center_crop(picture(all_vectors, name), 224)
    assert_parity(normalized(assessor, crop), all_vectors[f"{name}.pixel_values"][0])


def test_probabilities_and_mixture_of_a_picture_are_those_published(assessor, vectors):
    seen = assessor.assess([picture(vectors, "small")], strict=True)[0]
    assert_same_probabilities(seen, named(vectors["small.probs"][0]))
    assert_parity(assessor.condition(seen), vectors["small.e_auto"][0])


@pytest.mark.parametrize("name", PICTURES)
def test_logits_probabilities_and_mixtures_are_those_published(assessor, all_vectors, name):
    image = picture(all_vectors, name)
    logits = assessor.logits(assessor.image_features(center_crop(image, 224)[None]))
    assert_parity(logits, all_vectors[f"{name}.logits_per_text"].T)
    seen = assessor.assess([image], strict=True)[0]
    assert_same_probabilities(seen, named(all_vectors[f"{name}.probs"][0]))
    assert_parity(assessor.condition(seen), all_vectors[f"{name}.e_auto"][0])


@pytest.mark.parametrize("index", range(5))
def test_later_passes_ask_for_fewer_classes_and_see_unclamped_values(assessor, passes, shared, index):
    """The published program drops each repaired class before the next softmax; its pictures leave [-1, 1]."""
    words = json.loads((shared / "parity" / "autodir" / "pipeline.json").read_text())["labels"]["auto"][index][0]
    remaining = [name for name in NAMES if prompt_of(name) in words]
    seen = renormalized(assessor.assess([passes[f"{index}.biqa_in"][0]], strict=True)[0], remaining)
    assert_same_probabilities(seen, dict(zip(remaining, passes[f"{index}.probs"][0].tolist(), strict=True)))
    assert_parity(assessor.condition(seen), passes[f"{index}.e_auto"][0])


def test_fewer_names_are_a_softmax_over_fewer_logits(assessor):
    logits = torch.tensor([3.0, -1.0, 0.5, 2.0])
    whole = dict(zip("abcd", logits.softmax(0).tolist(), strict=True))
    expected = dict(zip("acd", logits[[0, 2, 3]].softmax(0).tolist(), strict=True))
    assert renormalized(whole, ("a", "c", "d")) == pytest.approx(expected)


def test_a_certain_answer_is_conditioned_on_its_own_prompt(assessor):
    states, _ = assessor.prompts()
    certain = {name: float(name == "haze") for name in NAMES}
    assert torch.equal(assessor.condition(certain), states[NAMES.index("haze")])


def test_the_mixture_is_linear_in_the_token_sequences():
    states = torch.tensor([[[1.0, 0.0]], [[0.0, 4.0]]])
    assert mixture(torch.tensor([0.25, 0.75]), states).tolist() == [[0.25, 3.0]]


def test_probabilities_sum_to_one_for_any_size(assessor):
    images = [torch.rand(3, height, width) * 2 - 1 for height, width in [(1, 1), (5, 300), (224, 224), (470, 230)]]
    for strict in (True, False):
        for seen in assessor.assess(images, strict=strict):
            assert tuple(seen) == NAMES
            assert sum(seen.values()) == pytest.approx(1, abs=1e-5)


def test_an_image_of_one_crop_gives_the_same_result_in_both_views(assessor):
    image = torch.rand(3, 224, 224) * 2 - 1
    assert_same_probabilities(assessor.assess([image])[0], assessor.assess([image], strict=True)[0])


def test_the_default_view_averages_crops_over_the_whole_picture(assessor):
    """Of two halves side by side: the answer is the mean of those for each half."""
    left, right = torch.rand(2, 3, 224, 224) * torch.tensor([2.0, 0.2]).view(2, 1, 1, 1) - 1
    wide = assessor.assess([torch.cat([left, right], dim=2)])[0]
    apart = assessor.assess([left, right])
    assert_same_probabilities(wide, {name: (apart[0][name] + apart[1][name]) / 2 for name in NAMES})


def test_damage_at_the_edge_is_seen_by_the_default_view_only(assessor):
    flat = torch.zeros(3, 224, 900)
    damaged = flat.clone()
    damaged[:, :, :224] = torch.rand(3, 224, 224) * 2 - 1
    (before, after), strict = assessor.assess([flat, damaged]), assessor.assess([flat, damaged], strict=True)
    assert_same_probabilities(strict[0], strict[1])
    assert max(abs(before[name] - after[name]) for name in NAMES) > 1e-3


def test_the_result_of_an_image_does_not_depend_on_its_batch(assessor):
    images = [torch.rand(3, 300, 100), -torch.rand(3, 224, 500), torch.zeros(3, 60, 60)]
    for together, alone in zip(assessor.assess(images), (assessor.assess([image])[0] for image in images), strict=True):
        assert_same_probabilities(together, alone)


def test_a_user_prompt_equal_to_a_class_prompt_resembles_its_class(assessor):
    for name in NAMES:
        understood = assessor.prompt_probabilities(prompt_of(name))
        assert max(understood, key=understood.get) == name


def test_the_overview_gives_its_share_of_the_answer(tiny_clip, assessor):
    picture = torch.rand(3, 512, 512, generator=torch.Generator().manual_seed(3)) * 2 - 1
    both = Assessor(tiny_clip, NAMES, most_views=4, overview=0.25).eval()
    both.clip = assessor.clip
    shrunk = F.interpolate(picture[None], (224, 224), mode="area")[0]
    near, far = assessor.assess([picture])[0], assessor.assess([shrunk])[0]
    expected = {name: 0.75 * near[name] + 0.25 * far[name] for name in NAMES}
    assert_same_probabilities(both.assess([picture])[0], expected)


def test_wary_lowers_the_probability_of_clean_but_not_in_the_strict_view(tiny_clip, assessor):
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(4)) * 2 - 1  # one view
    plain, wary = (Assessor(tiny_clip, NAMES, wary=value).eval() for value in (0.0, 2.0))
    for one in (plain, wary):
        one.clip = assessor.clip
    before, after = (one.assess([image])[0] for one in (plain, wary))
    odds = [answer[CLEAN] / (1 - answer[CLEAN]) for answer in (before, after)]
    assert odds[1] == pytest.approx(odds[0] * math.exp(-2), rel=1e-4)
    assert plain.assess([image], strict=True) == wary.assess([image], strict=True)


def test_a_prompt_goes_through_the_text_encoder_once_however_often_it_comes(autodir, count_rows, restore):
    model = autodir()
    model.assessor.forget_prompts()
    model.assessor.prompts()
    rows = count_rows(model.assessor.clip.transformer)
    for seed in range(3):
        restore(model, seed=seed, prompt="wash the fog away")
    assert rows == [1, 4]  # the prompt, and the prompt without each of its words
    for _ in range(2):
        restore(model, prompt="wash the fog away", text_guidance=2.0)
    assert len(rows) == 3  # the null prompt was added


def test_the_states_of_a_kept_prompt_are_those_of_the_text_encoder(autodir):
    assessor = autodir().assessor
    assessor.forget_prompts()
    with torch.inference_mode():
        first = assessor.user_states(["grainy"])
    kept = assessor.user_states(["grainy"])
    assert kept is first
    assert_parity(kept, assessor.user_states(["grainy", ""])[:1])
    assert not kept.is_inference()  # training may continue with it


def test_only_the_last_prompts_are_kept(autodir, count_rows, monkeypatch):
    monkeypatch.setattr("models.autodir.assessor.PROMPTS_KEPT", 2)
    assessor = autodir().assessor
    assessor.forget_prompts()
    rows = count_rows(assessor.clip.transformer)
    for words in ("one", "two", "one", "three", "one", "two"):
        assessor.user_states([words])
    assert len(rows) == 4  # one, two, three, and two again
