"""Checks converted networks of the DA-CLIP family against outputs recorded from the authors' modules.

Each kind takes one checkpoint, and safetensors files whose names start with

    daclip   a_daclip, a_tokens, a_preprocess
    unet     b_unet, c_ (schedules and trajectories)
    wild     b_wild
    nafnet   b_refusion_nafnet

Outputs of networks with random weights reach 10, and even float64 arithmetic differs from the vectors by 1e-5, so the
tolerance is 1e-5 of the range.

Shapes:  B images, H W pixels, D context.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.convert.bundle_writer import OnProgress
from models.convert.daclip.check_irsde import SCHEDULE_CHECKS, check_trajectories
from models.convert.daclip.rules import (
    CONTROLLER_RULES,
    NAFNET_RULES,
    UNET_RULES,
    check_copy,
    controller_config,
    controller_on_meta,
    nafnet_config,
    nafnet_on_meta,
    unet_config,
    unet_on_meta,
)
from models.convert.loading import load_converted
from models.convert.open_checkpoint import open_checkpoint
from models.convert.sizes import shapes_of
from models.convert.verdicts import Check, Row, Vectors, compare, compare_pairs, matching_names, vector_files
from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.conditional_unet import ConditionalUNet
from models.daclip.controller import DaCLIP, classify, preprocess, tokens
from models.networks.clip import ClipConfig, VisionConfig
from models.pixels import to_tensor
from models.vocabulary import DACLIP_WORDS

OUTPUT = re.compile(r"out_(?P<size>\d+x\d+)_t(?P<t>\d+)(?P<nodegra>_nodegra)?")


# --- the controller


def check_embeddings(model: DaCLIP, vectors: Vectors, path: Path) -> Iterator[Row]:
    image, words = vectors["image"], tokens(DACLIP_WORDS, model.config.clip.text.vocab_size)
    degradation, hidden = model.degradation(image)
    controls = model.controls(hidden)
    content = model.content(image, controls)
    features = model.text(vectors["tokens"])
    found = {
        "degra_features": degradation,
        "image_features": content,
        "image_features_norm": nn.functional.normalize(content, dim=-1),
        "image_features_nocontrol": model.content(image),
        "hidden_first": controls[-1].transpose(0, 1),  # (L, B, W) in the vectors, and in the controller's order
        "hidden_last": controls[0].transpose(0, 1),
        "text_features": features,
    }
    yield compare_pairs("a_daclip tokens", 0, [(words, vectors["tokens"])], "differ")
    for name, value in found.items():
        if name in vectors:
            yield compare_pairs(f"a_daclip {name}", 1e-5, [(value, vectors[name])])
    yield compare_pairs("a_daclip probs", 1e-5, [(classify(degradation, features), vectors["probs"])])


def check_tokens(model: DaCLIP, vectors: Vectors, path: Path) -> Iterator[Row]:
    texts = {"words": DACLIP_WORDS, "empty": ("",)}
    for name, words in texts.items():
        if name in vectors:
            yield compare_pairs(f"a_tokens {name}", 0, [(tokens(words), vectors[name])], "differ")


def check_preprocessing(model: DaCLIP, vectors: Vectors, path: Path) -> Iterator[Row]:
    """The recorded inputs have OpenAI's mean and deviation, and the size of the encoder that they were made for."""
    for name in sorted(key for key in vectors if re.fullmatch(r"img\d+", key)):
        expected = vectors[name.replace("img", "out")]
        config = ClipConfig(vision=VisionConfig(image_size=expected.shape[-1]))
        found = preprocess(to_tensor(vectors[name].numpy()), config)
        yield compare_pairs(f"a_preprocess {name}", 0, [(found, expected)], "differ")


# --- the restoration networks


def _outputs(title: str, vectors: Vectors, predict: Callable[[Tensor, Tensor, Tensor, str], Tensor]) -> Iterator[Row]:
    """Compare all recorded outputs: of single images, by size and time, and of a batch; `predict` is the network."""
    for name in sorted(vectors):
        if found := OUTPUT.fullmatch(name):
            x, mu = vectors[f"x_{found['size']}"], vectors[f"mu_{found['size']}"]
            output = predict(x, mu, torch.tensor([int(found["t"])]), "none" if found["nodegra"] else "one")
            yield compare_pairs(f"{title} {name}", 1e-5, [(output, vectors[name])], "of range")
    if "outb" in vectors:
        output = predict(vectors["xb"], vectors["mub"], vectors["tb"], "batch")
        yield compare_pairs(f"{title} outb", 1e-5, [(output, vectors["outb"])], "of range")


def check_unet_outputs(model: ConditionalUNet, vectors: Vectors, path: Path) -> Iterator[Row]:
    def predict(x: Tensor, mu: Tensor, t: Tensor, which: str) -> Tensor:
        if which == "batch":
            constants = model.prepare(vectors["image_context_b"], vectors["text_context_b"])
        else:
            constants = model.prepare(vectors["image_context"], vectors["degra"] if which == "one" else None)
        return model(x, mu, t, constants)  # type: ignore[no-any-return]

    yield from _outputs(path.stem, vectors, predict)


def check_nafnet_outputs(model: ConditionalNAFNet, vectors: Vectors, path: Path) -> Iterator[Row]:
    constants = model.prepare(None, None)
    yield from _outputs(path.stem, vectors, lambda x, mu, t, _: model(mu, constants, x, t))


# --- checks of checkpoints


def check_daclip(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """Yield a row for each group of tensors, and the name of each missing vector file; so do the functions below.

    Raises:
        ControlsError: no vector file exists.
        BundleError: the checkpoint cannot be converted, or a vector file cannot be read or has no expected tensor.
    """
    checks: dict[str, Check[DaCLIP]] = {
        **dict.fromkeys(matching_names(vectors, "a_daclip_*", "a_daclip_small"), check_embeddings),
        "a_tokens": check_tokens,
        "a_preprocess": check_preprocessing,
    }
    vector_files(vectors, checks)
    state = open_checkpoint(checkpoint)
    check_copy(state)
    config = controller_config(shapes_of(state))
    model = load_converted(state, controller_on_meta(config), CONTROLLER_RULES)
    assert isinstance(model, DaCLIP)
    yield from compare(model, checks, vectors)


def check_unet(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    files = [name for name in matching_names(vectors, "b_unet_*", "b_unet_small") if not name.endswith("_degraonly")]
    checks: dict[str, Check[ConditionalUNet]] = {
        **dict.fromkeys(files, check_unet_outputs), **SCHEDULE_CHECKS, "c_traj_unet": check_trajectories,
    }  # fmt: skip
    yield from _check_unet(checkpoint, vectors, checks)


def check_wild(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    yield from _check_unet(
        checkpoint, vectors, dict.fromkeys(matching_names(vectors, "b_wild_*", "b_wild_small"), check_unet_outputs)
    )


def check_nafnet(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    checks: dict[str, Check[ConditionalNAFNet]] = dict.fromkeys(
        matching_names(vectors, "b_refusion_nafnet_*", "b_refusion_nafnet_small"), check_nafnet_outputs
    )
    vector_files(vectors, checks)
    state = open_checkpoint(checkpoint)
    config = nafnet_config(shapes_of(state))
    model = load_converted(state, nafnet_on_meta(config), NAFNET_RULES)
    assert isinstance(model, ConditionalNAFNet)
    yield from compare(model, checks, vectors)


def _check_unet(checkpoint: Path, vectors: Path, checks: Mapping[str, Check[ConditionalUNet]]) -> Iterator[Row | str]:
    vector_files(vectors, checks)
    state = open_checkpoint(checkpoint)
    config = unet_config(shapes_of(state))
    model = load_converted(state, unet_on_meta(config), UNET_RULES)
    assert isinstance(model, ConditionalUNet)
    yield from compare(model, checks, vectors)
