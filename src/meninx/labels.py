"""Name the tumor types and their codes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TumorType:
    """Hold one type of tumor.

    Args:
        name: As in manifests and in the public JSON.
        display: As a reader sees it.
    """

    name: str
    display: str


# The order is that of the detector's type outputs.
TUMOR_TYPES = (
    TumorType("glioma", "glioma"),
    TumorType("meningioma", "meningioma"),
    TumorType("pituitary", "pituitary tumor"),
)
TYPE_NAMES = tuple(tumor_type.name for tumor_type in TUMOR_TYPES)
