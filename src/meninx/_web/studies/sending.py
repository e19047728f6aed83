"""Send the viewer's files: compressed if the browser accepts it, and not again if unchanged.

Browsers ask for a file each time, so that rights are checked, and get 304 if it is unchanged.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from meninx._web.studies.slice_files import near_slices, sent_length, sent_parts
from meninx._web.studies.study_files import PACKED

# No proxy caches it for others; a browser asks each time, so that rights are checked again.
CACHING = "private, no-cache"
_PIECE_BYTES = 1024**2


def stored_path(path: Path) -> Path:
    """Return the path of a stored file: volumes are compressed, pictures are not."""
    packed = path.with_name(path.name + PACKED)
    return packed if packed.is_file() else path


def send_file(request: Request, path: Path, media_type: str | None = None) -> Response:
    """Return the response that sends a file, or status 304 if the browser has it.

    Args:
        request: Request, with its Accept-Encoding and If-None-Match.
        path: Existing file, as `stored_path` gives it.
        media_type: Media type of the content; None to go by the name.

    Returns:
        The file, compressed or not, or status 304.

    References:
        RFC 9110: 8.8.3 ETag, 12.5.3 Accept-Encoding, 13.1.2 If-None-Match.
    """
    is_packed = path.suffix == PACKED
    sent_packed = is_packed and accepts_gzip(request.headers.get("accept-encoding", ""))
    tag = _tag_of(path, "unpacked" if is_packed and not sent_packed else "")
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


def send_slices(request: Request, path: Path, near: int | None, most: int) -> Response:
    """Return the response that sends a volume slice by slice, or status 304 if the browser has it.

    Args:
        request: Request, with its If-None-Match.
        path: File of `write_slices`.
        near: Index of the slice to send first, with its neighbors alone; None for all slices.
        most: Number of slices to send at most, with `near`.

    Returns:
        Raw deflate, or status 304.
    """
    wanted = None if near is None else near_slices(path, near, most)
    tag = _tag_of(path, f"{wanted}")
    headers = {"ETag": tag, "Cache-Control": CACHING}
    if has_tag(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(sent_length(path, wanted))
    return StreamingResponse(
        sent_parts(path, wanted), media_type="application/octet-stream", headers=headers
    )


def accepts_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding allows gzip."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        weights[name] = re.fullmatch(r"0?\.?0*", weight or "1") is None
    return weights.get("gzip", weights.get("*", False))


def has_tag(condition: str, tag: str) -> bool:
    """Return whether an If-None-Match names a tag, which a proxy may have made a weak one."""
    tags = [part.strip().removeprefix("W/") for part in condition.split(",")]
    return tag in tags or tags == ["*"]


def _tag_of(path: Path, sent: str) -> str:
    """Return an ETag, which differs once the file, its coding or what is sent of it differs."""
    status = path.stat()
    version = f"{status.st_mtime_ns} {status.st_size} {sent}"
    return f'"{hashlib.sha256(version.encode()).hexdigest()[:32]}"'


def _unpacked(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
