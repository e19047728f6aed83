"""Typed cells of a row of a manifest or of a user's table."""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
)

from meninx._data.tables import truth_of
from meninx._labels import TYPE_NAMES

Kind = Literal["glioma", "meningioma", "pituitary", "none", "unknown"]


def _empty_is_none(text: str | None) -> str | None:
    return text or None


def _file_name(text: str) -> str:
    """Return a file's name unchanged: it may contain bytes that are no text."""
    if not text:
        raise ValueError("empty")
    return text


class Row(BaseModel):
    """The typed cells of a row. A field's description names the expected value in messages.

    Args:
        picture: A file's name.
        tumor: Whether the picture shows a tumor.
        tumor_type: One of `labels.TYPE_NAMES`, `none` or `unknown`.
        fold: 1, 2, ...; 0 if unknown.
        slice: Place along the stack; None where unknown.
        gap_mm: Distance between slices of the stack, mm; None where unknown.
    """

    # Further columns are free.
    model_config = ConfigDict(extra="ignore", frozen=True)

    picture: Annotated[str, PlainValidator(_file_name), Field(description="the name of a file")] = (
        ""
    )
    tumor: Annotated[bool, BeforeValidator(truth_of), Field(description="0 or 1")] = False
    tumor_type: Annotated[Kind, Field(description=f"{', '.join(TYPE_NAMES)}, none or unknown")] = (
        "unknown"
    )
    fold: Annotated[int, Field(ge=0, description="a whole number")] = 0
    # A data frame with empty cells writes whole numbers as 3.0.
    slice: Annotated[
        int | None, BeforeValidator(_empty_is_none), Field(description="a whole number")
    ] = None
    gap_mm: Annotated[
        Annotated[float, Field(gt=0, lt=50)] | None,
        BeforeValidator(_empty_is_none),
        Field(description="a distance in mm, above 0 and below 50"),
    ] = None


def parse_row(cells: dict[str, str], place: str, faults: list[str]) -> Row:
    """Return a row with its cells in their types.

    Args:
        cells: Texts by column; further columns are ignored.
        place: Place of the row for messages, such as `line 3`.
        faults: List to which a sentence is appended for each wrong cell.

    Returns:
        The row; wrong cells have their defaults.
    """
    try:
        row = Row.model_validate(cells)
    except ValidationError as error:
        wrong = {str(fault["loc"][0]): fault["input"] for fault in error.errors(include_url=False)}
        faults += [_fault(place, column, found) for column, found in wrong.items()]
        return Row.model_validate({key: cells[key] for key in cells.keys() - wrong.keys()})
    if row.tumor == (row.tumor_type == "none"):
        faults.append(f"{place}: tumor is {cells['tumor']} but tumor_type is {row.tumor_type!r}")
    return row


def _fault(place: str, column: str, found: str) -> str:
    shown = repr(found) if found else "empty"
    return f"{place}: {column} is {shown}, expected {Row.model_fields[column].description}"
