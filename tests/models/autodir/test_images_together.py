"""Images that begin or end their passes in one call: they share assessments, and a call that failed is made again."""

import pytest
import torch
from scripted_assessor import Script, picture, sees

from models.controls import Controls
from models.errors import ControlsError
from models.restorer import Request


def stepped(model, requests):
    tracks = [track for outcome in model.begin(requests) for track in outcome.tracks]
    for track in tracks:
        while track.step < track.steps:
            model.step([track])
    return tracks


def requests_of(**controls):
    return [Request(image=picture(seed=seed), controls=Controls(seed=seed, **controls)) for seed in range(3)]


def test_all_that_begin_or_end_in_a_call_are_assessed_in_one_call(autodir):
    script = Script(*[sees(noise=0.8)] * 3, *[sees(clean=0.9)] * 3)
    model = autodir(assessor=script)
    outcomes = model.finish(stepped(model, requests_of()))
    assert script.strict == [False, False]
    assert [outcome.report.stop_reason for outcome in outcomes] == ["clean"] * 3


def test_strict_views_are_assessed_apart_and_answers_keep_their_images(autodir):
    script = Script(sees(noise=0.8), sees(noise=0.7), sees(haze=0.9))
    strict, plain, other = (Request(image=picture(), controls=Controls(strict=s)) for s in (True, False, True))
    outcomes = autodir(assessor=script).begin([strict, plain, other])
    assert script.strict == [True, False]
    assert [outcome.tracks[0].run.label for outcome in outcomes] == ["noise", "haze", "noise"]


def test_a_wrong_control_costs_no_assessment(autodir):
    script = Script(sees(noise=0.8))
    requests = [Request(image=picture()), Request(image=picture(), controls=Controls(only=("rust",)))]
    with pytest.raises(ControlsError):
        autodir(assessor=script).begin(requests)
    assert script.shown == []


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_the_end_of_passes_can_be_tried_again_after_a_failure(autodir, strict, failing):
    """The calls of `finish` that fail: the joint one, then one of an image alone.  No pass is counted twice."""

    class Fails(Script):
        left = 0

        def assess(self, images, strict=False):
            self.left -= 1
            if self.left == 0:
                raise MemoryError
            falls = sees(low_resolution=0.8) if not self.left else sees(clean=0.9)
            return [falls for _ in images]

        def prompt_probabilities(self, prompt):
            return sees(low_resolution=0.9)

        def prompt_scores(self, prompts):
            return [sees(low_resolution=0.9) for _ in prompts]

    requests = requests_of(strict=strict, prompt=None if strict else "enlarge")
    calm = autodir(assessor=Script(*[sees(low_resolution=0.8)] * 3, sees(clean=0.9)))
    expected = [calm.finish([track])[0] for track in stepped(calm, requests)]
    script = Script(sees(low_resolution=0.8))
    model = autodir(assessor=script)
    tracks = stepped(model, requests)
    model.assessor = Fails()
    model.assessor.left = failing
    outcomes = []
    for part in [tracks, *([track] for track in tracks for _ in range(2))]:
        try:
            outcomes.append((part[0], model.finish(part)[0]))
        except MemoryError:
            continue
    found = dict(outcomes)
    for track, one in zip(tracks, expected, strict=True):
        assert torch.equal(found[track].image, one.image)
        assert len(found[track].report.passes) == 1
