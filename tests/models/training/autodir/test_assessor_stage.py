"""The assessor's stage with a tower that asks restorers: what learns, what stays, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip
from models.networks.drunet import DRUNetConfig
from models.networks.evidence_tower import TowerConfig
from models.training.autodir.assessor_stage import AssessorStageConfig, AssessorStage
from models.training.core.config import RunConfig
from models.training.core.text_encoder import text_parameters
from models.training.data.photos import PhotoPool
from models.vocabulary import CLEAN

NAMES = ("low-light", "haze", CLEAN)
CLIP = ClipConfig(
    embed_dim=16, vision=VisionConfig(image_size=32, layers=(1, 1, 1, 1), width=8, head_width=32),
    tower=TowerConfig(branches=(DRUNetConfig(width=4, blocks=(1, 1), patch=2),), hidden=16, dropout=0.0),
    text=TextConfig(width=16, heads=2, layers=1), quick_gelu=False, mean=(0.5,) * 3, std=(0.25,) * 3,
)  # fmt: skip
CONFIG = AssessorStageConfig(network=CLIP, cross_entropy=1.0, twins=0.25, replay=3, remembered=64)


@pytest.fixture
def make(tmp_path):
    def stage(config=CONFIG):
        torch.manual_seed(0)
        save_file(text_parameters(build_clip(config.network)), tmp_path / "text.safetensors")
        torch.manual_seed(1)
        run = RunConfig(images=(), out=tmp_path, device="cpu", loaders=0)
        pool = PhotoPool([saved_photo(tmp_path)], validation=False)
        return AssessorStage(config, run, (pool, pool), NAMES, tmp_path / "text.safetensors")

    return stage


def saved_photo(folder):
    path = folder / "photo.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    return path


def batch(count=8, seed=0):
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
        loss = stage.loss(batch(seed=step), torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_only_the_last_layers_learn_what_the_rest_sees(make):
    stage = make()
    tower = stage.assessor.clip.visual
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    losses = trained(stage)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    for name, value in tower.state_dict().items():
        seeing = name.startswith(("own.", "branches."))
        if seeing:
            assert torch.equal(value, before[name]), name
    assert not torch.equal(tower.project.weight, before["project.weight"])


def test_what_it_learned_it_answers_when_asked_as_a_whole(make):
    stage = make()
    trained(stage)
    stage.network.eval()
    fresh = batch(9, seed=99)
    answers = stage.assessor.look(list(fresh["degraded"]), strict=True)
    assert [max(answer, key=answer.get) for answer in answers] == [NAMES[i] for i in fresh["label"]]


def test_without_replay_all_of_it_learns(make):
    stage = make(replace(CONFIG, replay=0))
    tower = stage.assessor.clip.visual
    before = tower.branches[0].head.weight.detach().clone(), tower.own.conv1.weight.detach().clone()
    trained(stage, steps=2)
    assert not torch.equal(tower.branches[0].head.weight, before[0])
    assert not torch.equal(tower.own.conv1.weight, before[1])
