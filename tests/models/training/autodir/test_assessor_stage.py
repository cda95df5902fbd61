"""The stages `glance` and `assessor`: the loss against values computed by hand, frozen parts, and that they learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import save_file

from models.errors import TrainingError
from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip
from models.networks.drunet import DRUNetConfig
from models.networks.evidence_encoder import EvidenceEncoderConfig
from models.training.autodir.assessor_stage import (
    AssessorStage,
    AssessorStageConfig,
    fidelity_loss,
    semantic_agnostic_loss,
)
from models.training.autodir.evidence_store import ROWS, read_evidence, write_evidence
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.text_encoder import text_parameters
from models.training.data.photos import PhotoPool
from models.training.data.share import Draws
from models.vocabulary import CLEAN

NAMES = ("low-light", "haze", CLEAN)
TWO_NAMES = ("low-light", CLEAN)
CLIP = ClipConfig(
    embed_dim=16, vision=VisionConfig(image_size=32, layers=(1, 1, 1, 1), width=8, head_width=32),
    tower=EvidenceEncoderConfig(branches=(DRUNetConfig(width=4, blocks=(1, 1), patch=2),), hidden=16, dropout=0.0),
    text=TextConfig(width=16, heads=2, layers=1), quick_gelu=False, mean=(0.5,) * 3, std=(0.25,) * 3,
)  # fmt: skip
CONFIG = AssessorStageConfig(network=CLIP, cross_entropy=1.0, twins=0.25, replay=3, replay_capacity=64)


@pytest.mark.parametrize(
    ("probabilities", "labels", "fidelity"),
    [
        ([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], 0.0),
        ([0.25, 0.75, 0.0], [1.0, 0.0, 0.0], 1 - 0.5),
        ([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 0.0),
        ([0.81, 0.09, 0.1], [0.5, 0.5, 0.0], 1 - (math.sqrt(0.405) + math.sqrt(0.045))),
    ],
)
def test_fidelity_is_one_minus_the_sum_of_roots(probabilities, labels, fidelity):
    found = fidelity_loss(torch.tensor([probabilities]), torch.tensor([labels]))
    assert float(found) == pytest.approx(fidelity, abs=1e-6)


def test_fidelity_is_the_mean_over_the_batch():
    probabilities, labels = torch.tensor([[0.36, 0.64], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(fidelity_loss(probabilities, labels)) == pytest.approx((0.4 + 0.0) / 2)


def test_predicting_the_artifact_for_the_clean_twin_costs_its_root():
    found = semantic_agnostic_loss(torch.tensor([[0.04, 0.96], [0.25, 0.75]]), torch.tensor([[1.0, 0.0]] * 2))
    assert float(found) == pytest.approx((0.2 + 0.5) / 2)


def test_an_entirely_wrong_answer_has_a_finite_gradient():
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    fidelity_loss(logits.softmax(dim=-1), torch.tensor([[1.0, 0.0]])).backward()
    assert logits.grad.isfinite().all()


@pytest.fixture
def published_stage(random_config, random_networks, run, pools, tmp_path):
    """The stage with the published settings, on an encoder without branches."""
    text = {name: value.clone() for name, value in text_parameters(random_networks[0].clip).items()}
    save_file(text, tmp_path / "text.safetensors")
    torch.manual_seed(0)
    config = AssessorStageConfig(network=random_config.clip, sa_weight=0.7)
    return AssessorStage(config, run, pools, TWO_NAMES, tmp_path / "text.safetensors")


def test_the_loss_is_the_sum_of_both_terms_and_clean_pairs_have_no_second_one(published_stage, batch):
    examples = batch(side=32)
    answers, twins = (
        published_stage.assessor.assess(list(examples[key]), strict=True) for key in ("degraded", "clean")
    )
    labels = ["low-light", "low-light", CLEAN, CLEAN]
    fidelity = sum(1 - math.sqrt(answer[label]) for answer, label in zip(answers, labels, strict=True)) / 4
    semantic = sum(math.sqrt(answer["low-light"]) for answer in twins[:2]) / 2
    loss = published_stage.loss(examples, Draws(torch.Generator()))
    assert float(loss.detach()) == pytest.approx(fidelity + 0.7 * semantic, abs=1e-5)


def test_the_text_encoder_is_frozen_and_the_image_encoder_learns(published_stage, batch):
    published_stage.loss(batch(side=32), Draws(torch.Generator())).backward()
    for name, parameter in published_stage.assessor.clip.named_parameters():
        learns = name.startswith("visual.") or name == "logit_scale"
        assert (parameter.grad is not None) == learns, name


@pytest.fixture
def make(tmp_path):
    def stage(config=CONFIG):
        torch.manual_seed(0)
        save_file(text_parameters(build_clip(config.network)), tmp_path / "text.safetensors")
        torch.manual_seed(1)
        run = RunConfig(images=(), out=tmp_path, device="cpu", loaders=0)
        pool = PhotoPool([saved_photo(tmp_path)], validation=False)
        return AssessorStage(config, run, TrainingData(photos=(pool, pool)), NAMES, tmp_path / "text.safetensors")

    return stage


def saved_photo(folder):
    path = folder / "photo.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    return path


def three_classes(count=8, seed=0):
    """Dark, pale and middling pictures."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 3
    level = torch.tensor([-0.8, 0.8, 0.0])[label][:, None, None, None]
    clean = 0.1 * torch.randn(count, 3, 32, 32, generator=generator)
    labels = torch.nn.functional.one_hot(label, 3).float()
    return {"degraded": (clean + level).clamp(-1, 1), "clean": clean, "labels": labels, "label": label}


def trained(stage, steps=40):
    learning = [value for value in stage.network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learning, 3e-3)
    losses = []
    for step in range(steps):
        stage.network.train()
        loss = stage.loss(three_classes(seed=step), Draws(torch.Generator().manual_seed(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_with_replay_only_the_last_layers_learn(make):
    stage = make()
    tower = stage.assessor.clip.visual
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    losses = trained(stage)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    for name, value in tower.state_dict().items():
        frozen = name.startswith(("own.", "branches."))
        if frozen:
            assert torch.equal(value, before[name]), name
    assert not torch.equal(tower.project.weight, before["project.weight"])


def test_the_whole_assessor_gives_the_learned_answers(make):
    stage = make()
    trained(stage)
    stage.network.eval()
    fresh = three_classes(9, seed=99)
    answers = stage.assessor.assess(list(fresh["degraded"]), strict=True)
    assert [max(answer, key=answer.get) for answer in answers] == [NAMES[i] for i in fresh["label"]]


def test_without_replay_all_layers_learn(make):
    stage = make(replace(CONFIG, replay=0))
    tower = stage.assessor.clip.visual
    before = tower.branches[0].head.weight.detach().clone(), tower.own.conv1.weight.detach().clone()
    trained(stage, steps=2)
    assert not torch.equal(tower.branches[0].head.weight, before[0])
    assert not torch.equal(tower.own.conv1.weight, before[1])


def test_stored_evidence_trains_like_the_pictures_that_it_is_of(make):
    """One step on the rows of a batch is one step on the batch, where nothing is drawn from the buffer."""
    batch, stage = three_classes(), make(replace(CONFIG, replay=1))
    stage.network.train()
    rows = stage.evidence_rows(batch)
    fresh = stage.loss(batch, Draws(torch.Generator()))
    assert rows.shape == (8 + 2, stage.assessor.clip.visual.norm.num_features + 2 * len(NAMES))
    stored = stage.loss({ROWS: rows}, Draws(torch.Generator()))
    assert float(stored.detach()) == pytest.approx(float(fresh.detach()), rel=1e-4)


def test_files_of_evidence_are_drawn_again_in_the_same_order(make, tmp_path):
    stage = make()
    rows = stage.evidence_rows(three_classes())
    for index in range(2):
        write_evidence(tmp_path / "store" / f"0-{index}.safetensors", rows, NAMES)
    stored = read_evidence([tmp_path / "store"], NAMES)
    assert_parity(stored.float(), torch.cat([rows, rows]), 1e-3)  # half precision
    stage.use_stored(stored)
    drawn = [next(stage.examples(start))[ROWS] for start in (0, 0, stage.run.batch)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert len(drawn[0]) == stage.run.batch * (1 + CONFIG.replay)
    several = stage.examples(0)
    next(several)
    assert torch.equal(next(several)[ROWS], drawn[2])


def test_evidence_that_does_not_fit_is_refused_with_a_remedy(make, tmp_path):
    stage, folder = make(), tmp_path / "store"
    with pytest.raises(TrainingError, match=r"found no evidence in .*Make it first"):
        read_evidence([folder], NAMES)
    write_evidence(folder / "0-0.safetensors", torch.zeros(4, 30), NAMES)
    with pytest.raises(TrainingError, match=r"has the names low-light,haze,clean, expected low-light,clean"):
        read_evidence([folder], TWO_NAMES)
    with pytest.raises(TrainingError, match=r"30 figures an example, expected .* other networks"):
        stage.use_stored(read_evidence([folder], NAMES))
    write_evidence(folder / "1-0.safetensors", torch.zeros(4, 31), NAMES)
    with pytest.raises(TrainingError, match="different networks"):
        read_evidence([folder], NAMES)
    (folder / "1-0.safetensors").write_bytes(b"not tensors")
    with pytest.raises(TrainingError, match=r"cannot read .*1-0\.safetensors"):
        read_evidence([folder], NAMES)
