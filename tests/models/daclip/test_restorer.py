"""The DA-CLIP family: the effects of the controls, and that images do not influence each other."""

from dataclasses import replace

import pytest
import torch
from module_calls import counted_module_calls
from parity_check import assert_parity

from models.controls import Controls
from models.convert.daclip.conversion import convert_daclip
from models.daclip.conditional_unet import ConditionalUNet
from models.daclip.controller import preprocess
from models.daclip.restorer import DaCLIPRestorer
from models.drive import restore_all, restore_one
from models.errors import BundleError, ControlsError
from models.families import load_restorer
from models.restorer import Continues, Request, Restored
from models.safety.envelope import Envelope

CPU = torch.device("cpu")
AMPLIFIED = 2e-3
"""At the first step the estimate of the clean image multiplies rounding errors by 200, and a random network amplifies
them further.  The influence of another image would be as large as the image itself."""


def unbounded(restorer):
    """Random networks move pixels beyond all bounds."""
    restorer.envelope = Envelope(bounds=False)
    return restorer


@pytest.fixture(scope="module")
def restorer(checkpoint_file, tmp_path_factory) -> DaCLIPRestorer:
    """The converted random pair, loaded as the product does it."""
    bundle = tmp_path_factory.mktemp("bundles") / "daclip-random"
    convert_daclip([checkpoint_file("daclip"), checkpoint_file("unet", 64)], bundle, torch.float32)
    return unbounded(load_restorer(bundle, CPU))


@pytest.fixture(scope="module")
def wild(checkpoint_file, tmp_path_factory) -> DaCLIPRestorer:
    bundle = tmp_path_factory.mktemp("bundles") / "daclip-wild-random"
    convert_daclip([checkpoint_file("daclip"), checkpoint_file("wild", 64)], bundle, torch.float32, wild=True)
    return unbounded(load_restorer(bundle, CPU))


@pytest.fixture(scope="module")
def one_step(restorer, one_step_beside) -> DaCLIPRestorer:
    return unbounded(one_step_beside(restorer))


def photo(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def request(image, **words):
    return Request(image=image, controls=Controls(**{"steps": 3, **words}))


def start(restorer, *requests):
    tracks = []
    for outcome in restorer.begin(requests):
        assert isinstance(outcome, Continues)
        tracks += outcome.tracks
    return tracks


@pytest.mark.parametrize("family", ["restorer", "wild", "one_step"])
def test_images_of_a_batch_do_not_influence_each_other(family, request_of, request):
    restorer = request.getfixturevalue(family)
    requests = [request_of(photo(41, 35, 1), seed=1), request_of(photo(48, 48, 2), seed=2, steps=5)]
    alone = [restore_one(restorer, one).image for one in requests]
    first, second = start(restorer, *requests)
    assert first.shape == second.shape == (48, 48) or family == "one_step"
    restorer.step([second])  # so that they stand at different steps of different schedules
    if first.shape == second.shape and family != "one_step":
        restorer.step([first, second])
    for track in (first, second):
        while track.step < track.steps:
            restorer.step([track])
    together = [outcome.image for outcome in restorer.finish([first, second])]
    for found, expected in zip(together, alone, strict=True):
        assert_parity(found, expected, of_range=AMPLIFIED)


@pytest.fixture
def request_of():
    return request


def test_a_batch_of_one_step_networks_answers_as_each_alone(one_step):
    requests = [request(photo(41, 35, seed)) for seed in range(3)]
    together = restore_all(one_step, requests, together=3)
    for found, own in zip(together, requests, strict=True):
        assert (found.report.steps, found.report.stop_reason) == (1, "max-passes")
        assert_parity(found.image, restore_one(one_step, own).image)


def test_the_color_fix_gives_the_result_the_mean_colors_of_the_input(restorer):
    image = photo(40, 48)
    plain, fixed = (restore_one(restorer, request(image, color_fix=fix)).image for fix in (False, True))
    assert (plain.mean((1, 2)) - image.mean((1, 2))).abs().max() > 1e-2
    torch.testing.assert_close(fixed.mean((1, 2)), image.mean((1, 2)), atol=1e-5, rtol=0)


def test_strength_zero_is_the_input_and_one_half_is_the_average(restorer):
    image = photo(33, 40)
    with counted_module_calls() as called:
        nothing = restore_one(restorer, request(image, strength=0.0))
    assert torch.equal(nothing.image, image) and nothing.report.stop_reason == "strength-zero"
    assert (nothing.report.degradations, nothing.report.passes, called) == ({}, (), [])
    whole, half = (restore_one(restorer, request(image, strength=s)).image for s in (1.0, 0.5))
    torch.testing.assert_close(half, (image + whole) / 2)
    assert whole.abs().max() <= 1


def test_the_seed_determines_the_image(restorer):
    image = photo(32, 32)
    first, again, other = (restore_one(restorer, request(image, seed=seed)).image for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_published_recipe_step_by_step(restorer):
    """The restorer equals its parts, combined as published: one assessment, x_T, posterior steps."""
    from models.daclip.controller import preprocess
    from models.daclip.irsde import IRSDE, SDEConfig, posterior_step
    from models.noise import NoiseStream

    image = photo(41, 35)
    found = restore_one(restorer, request(image, seed=9, steps=4)).image
    stream, sde = NoiseStream(9), IRSDE(SDEConfig(sample_steps=4))
    network = restorer.network
    assert isinstance(network, ConditionalUNet)
    with torch.inference_mode():
        content, degradation = restorer.controller(preprocess(image, restorer.config.controller.clip)[None])
        constants = network.prepare(content, degradation)
        mu = (image[None] + 1) / 2
        x = mu + 50 / 255 * stream.draw((3, 41, 35))
        for t, told in ((4, 100.0), (3, 75.0), (2, 50.0), (1, 25.0)):
            eps = network(x, mu, torch.tensor([told]), constants)
            x = posterior_step(x, mu, eps, stream.draw((3, 41, 35)), sde.at(torch.tensor([t])))
    assert_parity(found, x[0].clamp(0, 1) * 2 - 1, of_range=AMPLIFIED)


def test_tiles_cover_the_image_and_share_one_assessment(restorer, monkeypatch):
    looks = []
    whole_look = DaCLIPRestorer._averaged
    monkeypatch.setattr(
        DaCLIPRestorer, "_averaged",
        lambda self, images, encode: (looks.extend(i.shape for i in images), whole_look(self, images, encode))[1],
    )  # fmt: skip
    image = photo(64, 100)
    (outcome,) = restorer.begin([replace(request(image), tile_px=48)])
    assert isinstance(outcome, Continues)
    tracks = outcome.tracks
    assert len(tracks) == tracks[0].tile[1] > 4 and looks == [(3, 64, 100)]
    assert len({id(track.run.constants) for track in tracks}) == 1
    restored = restore_one(restorer, replace(request(image), tile_px=48)).image
    assert restored.shape == image.shape and bool(torch.isfinite(restored).all())


def test_images_that_begin_together_share_the_encoder_and_answer_as_each_alone(restorer, monkeypatch):
    photos = [photo(64, 100, 1), photo(41, 35, 2), photo(90, 40, 3)]
    alone = [(restorer.assess([image])[0], start(restorer, request(image))[0]) for image in photos]
    calls, degradation = [], restorer.controller.degradation
    monkeypatch.setattr(restorer.controller, "degradation", lambda v: (calls.append(len(v)), degradation(v))[1])
    together = zip(restorer.assess(photos), start(restorer, *map(request, photos)), strict=True)
    assert len(calls) == 2, "one call to assess them all, and one to begin them all"
    for (found, track), (own, own_track) in zip(together, alone, strict=True):
        assert_parity(found.condition, own.condition)
        assert found.label == own.label and track.run.label == own_track.run.label
        for name in own.probabilities:
            assert found.probabilities[name] == pytest.approx(own.probabilities[name], abs=1e-5)


def test_the_end_of_images_can_be_tried_again_after_a_failure(one_step, monkeypatch):
    requests = [request(photo(41, 35, seed)) for seed in range(3)]
    alone = [restore_one(one_step, own).image for own in requests]
    tracks = start(one_step, *requests)
    for track in tracks:
        one_step.step([track])
    restored, left = DaCLIPRestorer._restored, [2]

    def second_fails(self, *of):
        left[0] -= 1
        if left[0] == 0:
            raise MemoryError
        return restored(self, *of)

    monkeypatch.setattr(DaCLIPRestorer, "_restored", second_fails)
    with pytest.raises(MemoryError):
        one_step.finish(tracks)
    for track, expected in zip(tracks, alone, strict=True):
        assert torch.equal(one_step.finish([track])[0].image, expected)


def test_views_are_native_crops_whose_embeddings_are_averaged_with_the_shrunk_whole(restorer):
    """Four quadrants that touch, by hand: four fifths of their mean and a fifth of the whole."""
    side = restorer.config.controller.clip.vision.image_size
    image = photo(2 * side, 2 * side)
    loop = replace(restorer.config.loop, views=4, overview=0.2)
    config = replace(restorer.config, loop=loop)
    seen = DaCLIPRestorer(config, restorer.controller, restorer.network, CPU).assess([image])[0].condition

    def embedding(crop):
        with torch.inference_mode():
            return restorer.controller.degradation(preprocess(crop, restorer.config.controller.clip)[None])[0]

    quadrants = [image[:, y : y + side, x : x + side] for y in (0, side) for x in (0, side)]
    shrunk = torch.nn.functional.interpolate(image[None], (side, side), mode="area")[0]
    whole = torch.stack([embedding(shrunk)] * 2).mean(dim=0)  # the whole may come in two crops, here the same
    expected = 0.8 * torch.stack([embedding(crop) for crop in quadrants]).mean(dim=0) + 0.2 * whole
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-5)


def test_a_bundle_with_spoken_is_conditioned_by_the_most_probable_word(one_step, monkeypatch):
    """The condition equals that of the word as a prompt; as published, it is the image's own embedding."""
    image = photo(48, 40)
    found = one_step.assess([image])[0]
    word = one_step.config.words[max(found.probabilities, key=found.probabilities.get)]
    config = replace(one_step.config, loop=replace(one_step.config.loop, spoken=True))
    speaks = DaCLIPRestorer(config, one_step.controller, one_step.network, CPU)
    conditions = []
    prepare = one_step.network.prepare

    def noted(content, degradation):
        conditions.append(degradation)
        return prepare(content, degradation)

    monkeypatch.setattr(one_step.network, "prepare", noted)
    assert restore_one(speaks, request(image)).report.passes[0].source == "auto"
    restore_one(one_step, request(image, prompt=word))
    restore_one(one_step, request(image))
    spoken, told, published = conditions
    assert_parity(spoken, told)
    assert torch.equal(published, found.condition)
    assert float(torch.cosine_similarity(spoken, published)) < 0.9


def test_without_views_the_whole_image_is_assessed_as_published(restorer):
    image = photo(200, 90)
    with torch.inference_mode():
        expected = restorer.controller.degradation(preprocess(image, restorer.config.controller.clip)[None])[0]
    assert torch.equal(restorer.assess([image])[0].condition, expected)


def test_a_failed_step_leaves_its_tracks_unchanged(restorer, monkeypatch):
    image = photo(32, 32)
    expected = restore_one(restorer, request(image, seed=4)).image
    (track,) = start(restorer, request(image, seed=4))
    restorer.step([track])

    def fails(*_):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(ConditionalUNet, "denoise", fails)
        with pytest.raises(RuntimeError):
            restorer.step([track])
    while track.step < track.steps:
        restorer.step([track])
    (done,) = restorer.finish([track])
    assert isinstance(done, Restored) and torch.equal(done.image, expected)


def test_the_most_probable_allowed_name_conditions_the_network(restorer):
    image = photo(32, 32)
    plain = restore_one(restorer, request(image))
    best, second = list(plain.report.degradations)[:2]
    assert plain.report.labels == (best,)
    kept = restore_one(restorer, request(image, only=(best,)))
    assert torch.equal(kept.image, plain.image)  # its own embedding, as published
    other = restore_one(restorer, request(image, skip=(best,)))
    assert other.report.labels == (second,) and not torch.equal(other.image, plain.image)
    with pytest.raises(ControlsError, match="does not know 'low-resolution'"):
        restorer.begin([request(image, only=("low-resolution",))])


def test_a_prompt_replaces_the_most_probable_name(restorer):
    image = photo(32, 32)
    told = restore_one(restorer, request(image, prompt="snowy")).report
    assert (told.labels, told.stop_reason, told.passes[0].source) == (("snow",), "prompt-done", "user")
    with pytest.raises(ControlsError, match="together with only or skip"):
        restorer.begin([request(image, prompt="snowy", only=("snow",))])


def test_the_wild_network_ignores_a_prompt_with_a_warning(wild):
    image = photo(32, 32)
    plain, told = (restore_one(wild, request(image, prompt=prompt)) for prompt in (None, "snowy"))
    assert torch.equal(plain.image, told.image)
    assert told.report.warnings == ("this bundle cannot be told what to repair, so the prompt had no effect",)
    assert plain.report.warnings == ()
    with pytest.raises(ControlsError, match="leave out only and skip"):
        wild.begin([request(image, skip=("snow",))])


def test_assessing_gives_the_ten_names_and_the_published_probabilities(restorer, vectors):
    own = vectors("a_daclip_small")
    seen = restorer.assess([photo(96, 96)])[0]
    assert len(seen.probabilities) == 10 and sum(seen.probabilities.values()) == pytest.approx(1, abs=1e-5)
    for embedding, expected in zip(own["degra_features"], own["probs"], strict=True):
        found = restorer._probabilities(embedding[None])
        assert_parity(torch.tensor(list(found.values())), expected)


def test_a_very_long_image_is_restored(restorer):
    assert restore_one(restorer, request(photo(1, 3000), steps=1)).image.shape == (3, 1, 3000)


def test_a_bundle_without_exactly_one_restoration_network_is_refused(checkpoint_file, tmp_path):
    manifest = convert_daclip([checkpoint_file("daclip"), checkpoint_file("unet", 64)], tmp_path / "b", torch.float32)
    from models.bundle import write_manifest

    networks = {name: value for name, value in manifest.networks.items() if name != "unet"}
    write_manifest(tmp_path / "b", manifest.model_copy(update={"networks": networks}))
    with pytest.raises(BundleError, match="expected one of unet and nafnet"):
        load_restorer(tmp_path / "b", CPU)


def test_a_nafnet_is_converted_and_loaded(one_step, checkpoint_file, tmp_path):
    torch.save(one_step.network.state_dict(), tmp_path / "nafnet.pth")
    convert_daclip([checkpoint_file("daclip"), tmp_path / "nafnet.pth"], tmp_path / "made", torch.float32)
    loaded = load_restorer(tmp_path / "made", CPU)
    assert isinstance(loaded, DaCLIPRestorer) and loaded.config.nafnet == one_step.config.nafnet
    own = request(photo(41, 35))
    found, expected = restore_one(loaded, own), restore_one(one_step, own)
    assert_parity(found.image, expected.image)
    assert found.report.labels == expected.report.labels
    assert not torch.allclose(found.image, own.image, atol=1e-2)


def test_the_envelope_holds_for_this_family_too(one_step):
    """What is no photograph is left alone, gray stays gray, and a pass beyond its bounds is taken back."""
    frame = torch.zeros(3, 48, 48, dtype=torch.uint8)
    untouched = restore_one(one_step, request(frame))
    assert untouched.image is frame and untouched.report.stop_reason == "not-a-photograph"
    gray = photo(41, 35).mean(0, keepdim=True).expand(3, -1, -1).contiguous()
    found = restore_one(one_step, request(gray)).image
    assert not torch.equal(found, gray) and torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_pass_that_the_envelope_refuses_is_taken_back_unless_a_prompt_asked_for_it(one_step):
    class Refusing(Envelope):
        def refusal(self, label, before, after, *, later):
            return "out-of-bounds"

    bound = DaCLIPRestorer(one_step.config, one_step.controller, one_step.network, CPU)
    bound.envelope = Refusing()
    image = photo(41, 35)
    taken = restore_one(bound, request(image, strength={name: 0.5 for name in bound.names}))
    assert taken.image is image and taken.report.stop_reason == "out-of-bounds"
    assert [entry.kept for entry in taken.report.passes] == [False]
    for controls in ({"prompt": "rain"}, {"strict": True}):
        assert not torch.equal(restore_one(bound, request(image, **controls)).image, image)
