"""Do the networks of the DA-CLIP family, converted, answer as the authors' modules did?

Each kind takes one checkpoint.  The vectors are safetensors whose names begin a_daclip, a_tokens, a_preprocess
(daclip), b_unet, c_ (unet: the schedules and trajectories go with it), b_wild (wild), b_refusion_nafnet (nafnet).

Networks of random weights answer with values up to 10; float64 arithmetic itself is 1e-5 from the vectors there, so
they are held to 1e-5 of the range.

Shapes:  B images, H W pixels, D context.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models.bundle import fill
from models.convert.bundle_writer import OnProgress, entries_of
from models.convert.checkpoint import open_checkpoint
from models.convert.daclip.check_irsde import SCHEDULE_CHECKS, trajectories
from models.convert.daclip.rules import (
    CONTROLLER_RULES,
    NAFNET_RULES,
    UNET_RULES,
    check_aliases,
    controller_config,
    controller_on_meta,
    nafnet_config,
    nafnet_on_meta,
    unet_config,
    unet_on_meta,
)
from models.convert.recipe import Rule
from models.convert.verdicts import Check, Row, Vectors, compare, files_there, row
from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.conditional_unet import ConditionalUNet
from models.daclip.controller import DaCLIP, classify, preprocess, tokens
from models.networks.clip import ClipConfig, VisionConfig
from models.pixels import to_tensor
from models.vocabulary import DACLIP_WORDS

OUTPUT = re.compile(r"out_(?P<size>\d+x\d+)_t(?P<t>\d+)(?P<nodegra>_nodegra)?")


def loaded(state: Mapping[str, Tensor], networks: Mapping[str, nn.Module], rules: Sequence[Rule]) -> nn.Module:
    """The one network, on the CPU in float32, filled through its table.

    Raises:
        BundleError: the checkpoint does not fit.
    """
    ((name, network),) = networks.items()
    entries = entries_of(state, networks, rules, torch.float32)[name]
    return fill(network, {entry.name: entry.load() for entry in entries}, name)


# --- the controller


def embeddings(model: DaCLIP, vectors: Vectors, path: Path) -> Iterator[Row]:
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
        "hidden_first": controls[-1].transpose(0, 1),  # (L, B, W) there, and in the controller's order
        "hidden_last": controls[0].transpose(0, 1),
        "text_features": features,
    }
    yield row("a_daclip tokens", 0, [(words, vectors["tokens"])], "differ")
    for name, value in found.items():
        if name in vectors:
            yield row(f"a_daclip {name}", 1e-5, [(value, vectors[name])])
    yield row("a_daclip probs", 1e-5, [(classify(degradation, features), vectors["probs"])])


def words(model: DaCLIP, vectors: Vectors, path: Path) -> Iterator[Row]:
    texts = {"words": DACLIP_WORDS, "empty": ("",)}
    for name, own in texts.items():
        if name in vectors:
            yield row(f"a_tokens {name}", 0, [(tokens(own), vectors[name])], "differ")


def pixels(model: DaCLIP, vectors: Vectors, path: Path) -> Iterator[Row]:
    """The tower of the vectors has OpenAI's mean and deviation, and the size of what they were made for."""
    for name in sorted(key for key in vectors if re.fullmatch(r"img\d+", key)):
        expected = vectors[name.replace("img", "out")]
        config = ClipConfig(vision=VisionConfig(image_size=expected.shape[-1]))
        found = preprocess(to_tensor(vectors[name].numpy()), config)
        yield row(f"a_preprocess {name}", 0, [(found, expected)], "differ")


# --- the restoration networks


def _outputs(title: str, vectors: Vectors, ask: Callable[[Tensor, Tensor, Tensor, str], Tensor]) -> Iterator[Row]:
    """Every recorded output: of one image at its size and time, and of the mixed batch."""
    for name in sorted(vectors):
        if found := OUTPUT.fullmatch(name):
            x, mu = vectors[f"x_{found['size']}"], vectors[f"mu_{found['size']}"]
            answer = ask(x, mu, torch.tensor([int(found["t"])]), "none" if found["nodegra"] else "one")
            yield row(f"{title} {name}", 1e-5, [(answer, vectors[name])], "of range")
    if "outb" in vectors:
        answer = ask(vectors["xb"], vectors["mub"], vectors["tb"], "batch")
        yield row(f"{title} outb", 1e-5, [(answer, vectors["outb"])], "of range")


def unet(model: ConditionalUNet, vectors: Vectors, path: Path) -> Iterator[Row]:
    def ask(x: Tensor, mu: Tensor, t: Tensor, which: str) -> Tensor:
        if which == "batch":
            constants = model.prepare(vectors["image_context_b"], vectors["text_context_b"])
        else:
            constants = model.prepare(vectors["image_context"], vectors["degra"] if which == "one" else None)
        return model(x, mu, t, constants)  # type: ignore[no-any-return]

    yield from _outputs(path.stem, vectors, ask)


def nafnet(model: ConditionalNAFNet, vectors: Vectors, path: Path) -> Iterator[Row]:
    constants = model.prepare(None, None)
    yield from _outputs(path.stem, vectors, lambda x, mu, t, _: model(mu, constants, x, t))


# --- what the command calls


def _named(vectors: Path, pattern: str, otherwise: str) -> list[str]:
    """The files of a kind, whatever the rest of their names; where there is none, the name that was expected."""
    return sorted(path.stem for path in vectors.glob(f"{pattern}.safetensors")) or [otherwise]


def check_daclip(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """A row for each group of tensors that is there; the names of the files that are not.  So do the others below.

    Raises:
        ControlsError: there is no vector file at all.
        BundleError: the checkpoint cannot be converted, or a vector file cannot be read or lacks a tensor.
    """
    checks: dict[str, Check[DaCLIP]] = {
        **dict.fromkeys(_named(vectors, "a_daclip_*", "a_daclip_small"), embeddings), "a_tokens": words,
        "a_preprocess": pixels,
    }  # fmt: skip
    files_there(vectors, checks)
    state = open_checkpoint(checkpoint)
    check_aliases(state)
    config = controller_config({key: value.shape for key, value in state.items()})
    model = loaded(state, controller_on_meta(config), CONTROLLER_RULES)
    assert isinstance(model, DaCLIP)
    yield from compare(model, checks, vectors)


def check_unet(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    files = [name for name in _named(vectors, "b_unet_*", "b_unet_small") if not name.endswith("_degraonly")]
    checks: dict[str, Check[ConditionalUNet]] = {
        **dict.fromkeys(files, unet), **SCHEDULE_CHECKS, "c_traj_unet": trajectories,
    }  # fmt: skip
    yield from _unet_rows(checkpoint, vectors, checks)


def check_wild(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    yield from _unet_rows(checkpoint, vectors, dict.fromkeys(_named(vectors, "b_wild_*", "b_wild_small"), unet))


def check_nafnet(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    checks: dict[str, Check[ConditionalNAFNet]] = dict.fromkeys(
        _named(vectors, "b_refusion_nafnet_*", "b_refusion_nafnet_small"), nafnet
    )
    files_there(vectors, checks)
    state = open_checkpoint(checkpoint)
    config = nafnet_config({key: value.shape for key, value in state.items()})
    model = loaded(state, nafnet_on_meta(config), NAFNET_RULES)
    assert isinstance(model, ConditionalNAFNet)
    yield from compare(model, checks, vectors)


def _unet_rows(checkpoint: Path, vectors: Path, checks: Mapping[str, Check[ConditionalUNet]]) -> Iterator[Row | str]:
    files_there(vectors, checks)
    state = open_checkpoint(checkpoint)
    config = unet_config({key: value.shape for key, value in state.items()})
    model = loaded(state, unet_on_meta(config), UNET_RULES)
    assert isinstance(model, ConditionalUNet)
    yield from compare(model, checks, vectors)
