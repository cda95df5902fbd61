"""Evidence that the frozen networks of the assessor found in training pictures, stored in files.

Finding it is nearly all of the work of the stage `assessor`, and its last layers train in minutes once it is there.  So
several processes can find it, at any time, and the last layers can be trained again with other settings.

A file is safetensors with one tensor, `rows` (N, F + 2 K) float16: evidence, labels, and offsets for the logits.

Shapes:  N examples, F features of evidence, K names.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.errors import TrainingError
from models.training.data.dataset import Example

ROWS = "rows"
NAMES = "names"


def write_evidence(path: Path, rows: Tensor, names: Sequence[str]) -> None:
    """Write rows (N, F + 2 K) whose labels have the order of `names`; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    save_file({ROWS: rows.to(torch.float16).contiguous()}, partial, metadata={NAMES: ",".join(names)})
    partial.replace(path)


def read_evidence(folders: Sequence[Path], names: Sequence[str]) -> Tensor:
    """Returns the rows of all files below the folders, (N, F + 2 K) float16.

    Raises:
        TrainingError: there are none, or a file is of other names or cannot be read.
    """
    files = sorted(path for folder in folders for path in folder.rglob("*.safetensors"))
    if not files:
        raise TrainingError(
            f"found no evidence in {', '.join(map(str, folders))}. Make it first: python -m models.training evidence"
        )
    rows = [_read(path, names) for path in files]
    if len({part.shape[1] for part in rows}) > 1:
        raise TrainingError(f"the files in {folders[0]} hold the evidence of different networks. Give each a folder.")
    return torch.cat(rows)


def _read(path: Path, names: Sequence[str]) -> Tensor:
    try:
        with safe_open(path, framework="pt") as file:
            stated = (file.metadata() or {}).get(NAMES)
            rows: Tensor = file.get_tensor(ROWS)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot read {path} as stored evidence: {error}") from error
    if stated != ",".join(names):
        raise TrainingError(f"{path} has the names {stated}, expected {','.join(names)}. Make it again for these.")
    return rows


def drawn_rows(rows: Tensor, start: int, count: int, seed: int) -> Iterator[Example]:
    """Yield {ROWS: (count, F + 2 K)} without end, drawn with replacement, beginning with batch number `start`.

    Every process gets the same rows: its share of the work would be too small to be worth sending.
    """
    while True:
        generator = torch.Generator().manual_seed((seed << 32) + start)
        yield {ROWS: rows[torch.randint(len(rows), (count,), generator=generator)]}
        start += 1
