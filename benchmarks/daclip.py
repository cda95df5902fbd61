"""One step of the full-size IR-SDE U-Net (random weights): the authors' way against ours, by size of the picture.

The authors' way: attention with its whole score matrix, cross-attention worked out for every position although there
is one token, linear attention over all heads at once, and prompt and contexts again at every step.  Written here from
the description of their code; it shares our weights, so the two answers can be compared.

Each row is a fresh process, so the peak is that process's own, weights and libraries included (on CUDA, what torch
took of the device).  A reference whose score matrix would not fit into --memory-gb is left out.  Time is the fastest of
--repeats steps after one that does not count; on the CPU also the processor's own time, which other work on the machine
does not disturb.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models.daclip.attention import HEAD_CHANNELS, LinearAttention, SpatialTransformer, TransformerBlock
from models.daclip.conditional_unet import WILD, ConditionalUNet, Constants, UNetConfig

CONFIGS = {"daclip": UNetConfig(), "wild": WILD}


class ExplicitAttention(nn.Module):
    """Attention with its scores in memory, over x or over a context of one token."""

    def __init__(self, channels: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = channels // HEAD_CHANNELS
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k, self.to_v = (nn.Linear(context or channels, channels, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        other = x if context is None else context
        q, k, v = (
            y.unflatten(-1, (self.heads, HEAD_CHANNELS)).transpose(1, 2)
            for y in (self.to_q(x), self.to_k(other), self.to_v(other))
        )
        scores = (q @ k.transpose(-1, -2) * HEAD_CHANNELS**-0.5).softmax(dim=-1)  # (B, h, N, N) or (B, h, N, 1)
        return self.to_out((scores @ v).transpose(1, 2).flatten(2))


class ExplicitBlock(nn.Module):
    """The transformer block with a cross-attention that asks from every position."""

    def __init__(self, ours: TransformerBlock, channels: int, context: int) -> None:
        super().__init__()
        self.attn1, self.attn2 = ExplicitAttention(channels), ExplicitAttention(channels, context)
        self.attn1.load_state_dict(ours.attn1.state_dict())
        self.attn2.load_state_dict(ours.attn2.state_dict(), strict=False)  # queries and keys change nothing
        self.norm1, self.norm2, self.norm3, self.ff = ours.norm1, nn.LayerNorm(channels), ours.norm3, ours.ff

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), context[:, None, :]) + x
        return self.ff(self.norm3(x)) + x


def explicit_linear(self: LinearAttention, x: Tensor) -> Tensor:
    """All heads of the linear attention at once, channels first."""
    batch, _, height, width = x.shape
    q, k, v = self.to_qkv(x).reshape(batch, 3, self.heads, HEAD_CHANNELS, height * width).unbind(1)
    q, k = q.softmax(dim=-2) * HEAD_CHANNELS**-0.5, k.softmax(dim=-1)
    memory = torch.einsum("bhdn,bhen->bhde", k, v / (height * width))
    found = torch.einsum("bhde,bhdn->bhen", memory, q)
    return self.to_out(found.reshape(batch, -1, height, width))


def explicit_denoise(
    self: ConditionalUNet, x: Tensor, mu: Tensor, embedding: Tensor, contexts: Sequence[Tensor]
) -> Tensor:
    """Channels first all the way, as their tensors are; sides must be multiples of the stride."""
    whole = x = self.init_conv(torch.cat([x - mu, mu], dim=1))
    if self.config.half_scale:
        x = self.downsample(x)
    x = self._body(x, embedding, list(contexts))
    if self.config.half_scale:
        x = self.upsample(x)
    return self.final_conv(self.final_res_block(torch.cat([x, whole], dim=1), embedding))


def network(config: UNetConfig, device: torch.device) -> ConditionalUNet:
    torch.manual_seed(0)
    made = ConditionalUNet(config)
    for part in made.transformers():
        nn.init.normal_(part.proj_out.weight, std=0.02)  # zero at the start, which would hide the attention
    return made.eval().requires_grad_(False).to(device)


def authors_way(made: ConditionalUNet) -> ConditionalUNet:
    """The same weights, worked out as published; contexts go through where constants did."""
    for part in made.transformers():
        channels, block = part.proj_in.in_channels, part.transformer_blocks[0]
        assert isinstance(block, TransformerBlock)
        part.transformer_blocks[0] = ExplicitBlock(block, channels, made.config.context_dim).to(part.proj_in.weight)
    LinearAttention.forward = explicit_linear  # type: ignore[method-assign]
    ConditionalUNet.denoise = explicit_denoise  # type: ignore[method-assign]
    return made


def step(config: UNetConfig, ours: bool, side: int, repeats: int, device: torch.device) -> tuple[Tensor, float, float]:
    """The answer (1, 3, side, side), and seconds of the fastest step: by the clock, and of the processor."""
    made = network(config, device)
    draw = torch.Generator().manual_seed(1)
    mu = torch.rand(1, 3, side, side, generator=draw).to(device)
    x = mu + 0.2 * torch.randn(1, 3, side, side, generator=draw).to(device)
    content, degradation = torch.randn(2, 1, config.context_dim, generator=draw).to(device)
    t = torch.tensor([50], device=device)
    if ours:
        made = made.to(memory_format=torch.channels_last)
        constants = made.prepare(content, degradation)
    else:
        count = len(made.transformers())
        made = authors_way(made)
        SpatialTransformer.cross_vector = lambda self, context: context  # type: ignore[method-assign]

    def ask() -> Tensor:
        if ours:
            return made(x, mu, t, constants)
        prompt = made.prepare(content, degradation).prompt
        return made(x, mu, t, Constants(prompt, (content,) * count))

    walls, works = [], []
    answer = ask()
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        wall, work = time.perf_counter(), time.process_time()
        answer = ask()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        walls.append(time.perf_counter() - wall)
        works.append(time.process_time() - work)
    return answer.cpu(), min(walls or [0.0]), min(works or [0.0])


def peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts kibibytes


def scores_gb(config: UNetConfig, side: int) -> float:
    """The widest score matrix: sixteen heads, or what the last width has, over an eighth of the picture's sides."""
    heads = config.width * config.multipliers[-1] // HEAD_CHANNELS
    cells = (side // 2 ** (len(config.multipliers) - 1) // (2 if config.half_scale else 1)) ** 2
    return heads * cells**2 * 4 / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--networks", nargs="+", choices=CONFIGS, default=["daclip"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--memory-gb", type=float, default=8.0, help="for one score matrix of the reference, twice")
    parser.add_argument("--one", nargs=4, metavar=("NETWORK", "WAY", "SIDE", "OUT"), help="this row, in this process")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.one:
        name, way, side, out = arguments.one
        with torch.inference_mode():
            answer, wall, work = step(CONFIGS[name], way == "ours", int(side), arguments.repeats, device)
        torch.save(answer, out)
        print(wall, work, peak_mib(device))
        return
    threads = torch.get_num_threads()
    print(f"# {platform.machine()} {device} · {os.cpu_count()} cores, {threads} threads · torch {torch.__version__}\n")
    print("| network | side px | way | s/step | processor s | peak MiB | largest difference (range) |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            for side in arguments.sizes:
                compare(name, side, Path(folder), arguments)


def compare(name: str, side: int, folder: Path, arguments: argparse.Namespace) -> None:
    """Both ways at one size, a line each."""
    answers: list[Tensor] = []
    for way in ("authors", "ours"):
        needed = 2 * scores_gb(CONFIGS[name], side)
        if way == "authors" and needed > arguments.memory_gb:
            print(f"| {name} | {side} | authors | | | scores alone: {needed / 2:.1f} GiB, twice | |", flush=True)
            continue
        out = folder / f"{way}.pt"
        words = [sys.executable, __file__, "--device", arguments.device, "--repeats", str(arguments.repeats)]
        done = subprocess.run([*words, "--one", name, way, str(side), str(out)], check=True, stdout=subprocess.PIPE)
        wall, work, peak = map(float, done.stdout.split())
        answers.append(torch.load(out))
        told = ""
        if len(answers) == 2:
            told = f"{(answers[0] - answers[1]).abs().max():.1e} ({answers[0].abs().max():.1f})"
        print(f"| {name} | {side} | {way} | {wall:.2f} | {work:.2f} | {peak:.0f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
