"""Send files that the viewer shows: packed where that is understood, and not twice.

Whoever has a file asks again each time, so that rights are checked, and hears that it is the same.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from meninx.web.studies import PACKED

# Kept by no proxy for others, and shown by no browser without asking whether that is allowed still.
CACHING = "private, no-cache"
PIECE_BYTES = 1024**2


def stored_path(path: Path) -> Path:
    """Return where a file lies: packed, or by its own name, as all were before any was packed."""
    packed = path.with_name(path.name + PACKED)
    return packed if packed.is_file() else path


def send_file(request: Request, path: Path, media_type: str | None = None) -> Response:
    """Return the answer that sends a file, or that says that its asker has it.

    Args:
        request: The request, which says what its sender understands and has.
        path: File that exists, as `stored_path` gives it.
        media_type: Media type of the content; None to go by the name.

    Returns:
        The file, packed or not, or status 304.

    References:
        RFC 9110: 8.8.3 ETag, 12.5.3 Accept-Encoding, 13.1.2 If-None-Match.
    """
    is_packed = path.suffix == PACKED
    sent_packed = is_packed and takes_gzip(request.headers.get("accept-encoding", ""))
    tag = _tag_of(path, unpacked=is_packed and not sent_packed)
    headers = {"ETag": tag, "Cache-Control": CACHING}
    if is_packed:
        headers["Vary"] = "Accept-Encoding"
        media_type = media_type or "application/octet-stream"
    if has_tag(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    if is_packed and not sent_packed:
        return StreamingResponse(_unpacked(path), media_type=media_type, headers=headers)
    if sent_packed:
        headers["Content-Encoding"] = "gzip"
    return FileResponse(path, media_type=media_type, headers=headers)


def takes_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding lets gzip through."""
    weights = {}
    for one in accepted.lower().split(","):
        name, _, weight = one.replace(" ", "").partition(";q=")
        weights[name] = re.fullmatch(r"0?\.?0*", weight or "1") is None
    return weights.get("gzip", weights.get("*", False))


def has_tag(known: str, tag: str) -> bool:
    """Return whether an If-None-Match names a tag, which a proxy may have made a weak one."""
    tags = [one.strip().removeprefix("W/") for one in known.split(",")]
    return tag in tags or tags == ["*"]


def _tag_of(path: Path, *, unpacked: bool) -> str:
    """Return what is another one once the file is, or is sent in another coding."""
    told = path.stat()
    words = f"{told.st_mtime_ns} {told.st_size} {unpacked}"
    return f'"{hashlib.sha256(words.encode()).hexdigest()[:32]}"'


def _unpacked(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
