"""The files of the page at `/`: static, read once, with an entity tag each and one strict Content-Security-Policy.

The folder web/ lies beside the rooms, in the repository as in an installed package.  The page refers to its files, and
to the API, by relative URLs only, so that it works under every root path.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

FOLDER = Path(__file__).parents[1] / "web"
ENTRY = "index.html"
"""What `/` returns."""
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".json": "application/json", ".svg": "image/svg+xml", ".webp": "image/webp", ".jpg": "image/jpeg",
}  # fmt: skip
"""By ending; files with another ending are not served."""
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:",
        "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        "require-trusted-types-for 'script'", "trusted-types 'none'",
    )
)  # fmt: skip
"""No inline script or style, nothing from other hosts, no frames, and no text that becomes HTML."""
HEADERS = {
    "Cache-Control": "no-cache",  # ask each time, and answer 304: an upgrade shows at once
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """One file: its bytes, media type and strong entity tag."""

    data: bytes
    media_type: str
    etag: str


@lru_cache(maxsize=1)
def page_files() -> dict[str, PageFile]:
    """Return the files of the page by their path in web/.

    Only these can be requested, so no path of a request reaches the file system.  Empty where web/ is not installed.
    """
    found = (path for path in sorted(FOLDER.rglob("*")) if path.is_file() and path.suffix in MEDIA_TYPES)
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in found}


def _read(path: Path) -> PageFile:
    data = path.read_bytes()
    media_type = MEDIA_TYPES[PurePosixPath(path).suffix]
    return PageFile(data=data, media_type=media_type, etag=f'"{hashlib.sha256(data).hexdigest()[:32]}"')
