"""Measure one step of the full-size IR-SDE U-Net with random weights: the published way and ours, by photo size.

The published way computes attention with its full score matrix, cross-attention at every position although there is
only one token, linear attention over all heads at once, and prompt and contexts again in every step.  It is written
here from the description of the published code and uses our weights, so that the outputs can be compared.

Each row is a new process, so the peak memory includes weights and libraries (on CUDA, what torch allocated).  The
published way is skipped if its score matrix does not fit into --memory-gb.  Time is that of the fastest of --repeats
steps after one warm-up, as wall time and as CPU time.

Example: python benchmarks/daclip.py --sizes 256 512
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from conditions import Timer, header, make_parser, peak_mib
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
    """The transformer block with cross-attention at every position."""

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
    """Linear attention over all heads at once, channels first."""
    batch, _, height, width = x.shape
    q, k, v = self.to_qkv(x).reshape(batch, 3, self.heads, HEAD_CHANNELS, height * width).unbind(1)
    q, k = q.softmax(dim=-2) * HEAD_CHANNELS**-0.5, k.softmax(dim=-1)
    memory = torch.einsum("bhdn,bhen->bhde", k, v / (height * width))
    found = torch.einsum("bhde,bhdn->bhen", memory, q)
    return self.to_out(found.reshape(batch, -1, height, width))


def explicit_denoise(
    self: ConditionalUNet, x: Tensor, mu: Tensor, embedding: Tensor, contexts: Sequence[Tensor]
) -> Tensor:
    """Run the U-Net with channels first, like the published code; sides must be multiples of the stride."""
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
        nn.init.normal_(part.proj_out.weight, std=0.02)  # initialized to zero, which would hide the attention
    return made.eval().requires_grad_(False).to(device)


def published_way(made: ConditionalUNet) -> ConditionalUNet:
    """Change the network to the published way with the same weights; it receives contexts instead of constants."""
    for part in made.transformers():
        channels, block = part.proj_in.in_channels, part.transformer_blocks[0]
        assert isinstance(block, TransformerBlock)
        part.transformer_blocks[0] = ExplicitBlock(block, channels, made.config.context_dim).to(part.proj_in.weight)
    LinearAttention.forward = explicit_linear  # type: ignore[method-assign]
    ConditionalUNet.denoise = explicit_denoise  # type: ignore[method-assign]
    return made


def step(config: UNetConfig, ours: bool, side: int, repeats: int, device: torch.device) -> tuple[Tensor, float, float]:
    """Returns the output (1, 3, side, side), and the wall and CPU seconds of the fastest step."""
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
        made = published_way(made)
        SpatialTransformer.cross_vector = lambda self, context: context  # type: ignore[method-assign]

    def run() -> Tensor:
        if ours:
            return made(x, mu, t, constants)
        prompt = made.prepare(content, degradation).prompt
        return made(x, mu, t, Constants(prompt, (content,) * count))

    output, timers = run(), []
    for _ in range(repeats):
        with Timer(device) as timer:
            output = run()
        timers.append(timer)
    fastest = [min((getattr(timer, name) for timer in timers), default=0.0) for name in ("wall_s", "cpu_s")]
    return output.cpu(), fastest[0], fastest[1]


def scores_gb(config: UNetConfig, side: int) -> float:
    """Returns the size of the largest score matrix: the heads of the last level over its grid of positions."""
    heads = config.width * config.multipliers[-1] // HEAD_CHANNELS
    cells = (side // 2 ** (len(config.multipliers) - 1) // (2 if config.half_scale else 1)) ** 2
    return heads * cells**2 * 4 / 2**30


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="sides of the photo in pixels")
    parser.add_argument("--networks", nargs="+", choices=CONFIGS, default=["daclip"], help="default: daclip")
    parser.add_argument("--repeats", type=int, default=2, help="measured steps after one warm-up")
    parser.add_argument("--memory-gb", type=float, default=8.0, help="limit for two published score matrices")
    parser.add_argument(
        "--one", nargs=4, metavar=("NETWORK", "WAY", "SIDE", "OUT"), help="only this row, in this process"
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.one:
        name, way, side, out = arguments.one
        with torch.inference_mode():
            output, wall_s, cpu_s = step(CONFIGS[name], way == "ours", int(side), arguments.repeats, device)
        torch.save(output, out)
        print(wall_s, cpu_s, peak_mib(device))
        return
    print(header(device, device=device), end="\n\n")
    print("| network | side px | way | wall s/step | CPU s/step | peak MiB | largest difference (range) |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            for side in arguments.sizes:
                compare(name, side, Path(folder), arguments)


def compare(name: str, side: int, folder: Path, arguments: argparse.Namespace) -> None:
    """Print one line for each way at one size."""
    outputs: list[Tensor] = []
    for way in ("published", "ours"):
        needed = 2 * scores_gb(CONFIGS[name], side)
        if way == "published" and needed > arguments.memory_gb:
            print(f"| {name} | {side} | published | | | scores alone: {needed / 2:.1f} GiB, twice | |", flush=True)
            continue
        out = folder / f"{way}.pt"
        words = [sys.executable, __file__, "--device", arguments.device, "--repeats", str(arguments.repeats)]
        done = subprocess.run([*words, "--one", name, way, str(side), str(out)], check=True, stdout=subprocess.PIPE)
        wall_s, cpu_s, peak = map(float, done.stdout.split())
        outputs.append(torch.load(out))
        difference = ""
        if len(outputs) == 2:
            difference = f"{(outputs[0] - outputs[1]).abs().max():.1e} ({outputs[0].abs().max():.1f})"
        print(f"| {name} | {side} | {way} | {wall_s:.2f} | {cpu_s:.2f} | {peak:.0f} | {difference} |", flush=True)


if __name__ == "__main__":
    main()
