"""What all routes of the API share: errors and ids."""

from typing import Annotated, Any

from fastapi import Path

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": words, "content": {"application/json": {}}}
    for code, words in {
        400: "the request can't be met",
        401: "not signed in",
        403: "not allowed",
        404: "not found",
        410: "erased",
        411: "no Content-Length",
        413: "too large",
        429: "too many wrong keys",
    }.items()
}
Id = Annotated[str, Path(pattern="^[0-9a-f]{24}$")]
