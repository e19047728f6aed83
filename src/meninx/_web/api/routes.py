"""What all routes of the API share: errors, ids, and bodies without unknown fields."""

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict

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


class Body(BaseModel):
    """The body of a request; an unknown field is an error (400), never dropped without a word."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
