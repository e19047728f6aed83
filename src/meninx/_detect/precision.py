"""Arithmetic of the shipped detector; apart from its loading, for the command line's help."""

from typing import Literal, get_args

Precision = Literal["int8", "fp32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DEFAULT_PRECISION: Precision = "int8"
