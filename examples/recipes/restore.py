"""Restore a photo and show its progress:  python restore.py photo.jpg restored.jpg [URL] [API key]

Needs httpx (pip install httpx).
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

FINAL_EVENTS = ("completed", "failed", "canceled", "expired")
MAX_TRIES = 30


def main(photo: Path, out: Path, url: str = "http://127.0.0.1:8000", key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        answer = client.post("/restore", files={"image": photo.read_bytes()}, data={"strength": "1.0"})
        if answer.is_error:
            return print_problem(answer)
        job = answer.json()
        for event, data in events(client, job["id"]):
            print(event, data, file=sys.stderr)
        job = client.get(f"/jobs/{job['id']}").json()
        if job["status"] != "succeeded":
            print(f"{job['status']}: {job['error']}", file=sys.stderr)
            return 1
        out.write_bytes(client.get(job["result"]["url"]).raise_for_status().content)
    print(f"{out}: repaired {', '.join(entry['label'] for entry in job['passes'] if entry['kept']) or 'nothing'}")
    return 0


def events(client: httpx.Client, job: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields the events of the job until it ends; a new connection continues after the last received event."""
    last, kind, tries = "", "", 0
    while kind not in FINAL_EVENTS:
        try:
            with client.stream("GET", f"/jobs/{job}/events", headers={"Last-Event-ID": last} if last else {}) as stream:
                stream.raise_for_status()
                for line in stream.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        last, tries = value, 0
                    elif name == "event":
                        kind = value
                    elif name == "data":
                        yield kind, json.loads(value)
        except httpx.TransportError:
            if tries == MAX_TRIES:
                raise
        tries += 1
        if tries > MAX_TRIES:  # the stream ends without events: the job has expired
            return
        if kind not in FINAL_EVENTS:
            time.sleep(1)


def print_problem(answer: httpx.Response) -> int:
    """Print what is wrong and what to do, from a problem document (RFC 9457)."""
    problem = answer.json()
    print(f"{problem['status']} {problem['code']}: {problem['detail']} {problem.get('hint', '')}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]))
