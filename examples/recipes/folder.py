"""Restore all photos of a folder with the Python client:  python folder.py photos restored [URL] [API key]

Needs undegrade-client (pip install ./client in a checkout).
"""

import sys
from pathlib import Path

from undegrade_client import Client, UndegradeError


def main(photos: Path, restored: Path, url: str = "http://127.0.0.1:8000", key: str | None = None) -> int:
    restored.mkdir(parents=True, exist_ok=True)
    failed = 0
    with Client(url, key) as client:
        images = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
        for outcome in client.map(images, jobs=8, on_error="return"):
            if isinstance(outcome, UndegradeError):
                print(f"{outcome.source}: {outcome}", file=sys.stderr)
                failed += 1
            else:
                outcome.save(restored / Path(outcome.source).name)
                print(f"{outcome.source}: repaired {', '.join(outcome.repaired) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]))
