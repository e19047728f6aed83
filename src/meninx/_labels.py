"""Tumor types with display names and SNOMED CT codes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TumorType:
    """A type of tumor.

    Args:
        name: Name in manifests and public JSON.
        display: Name for readers.
        snomed: SNOMED CT code and its meaning.
    """

    name: str
    display: str
    snomed: tuple[str, str]


# The order is that of the detector's type outputs.
TUMOR_TYPES = (
    TumorType("glioma", "glioma", ("393564001", "Glioma")),
    TumorType("meningioma", "meningioma", ("302820008", "Intracranial meningioma")),
    TumorType("pituitary", "pituitary tumor", ("127024001", "Neoplasm of pituitary gland")),
)
TYPE_NAMES = tuple(tumor_type.name for tumor_type in TUMOR_TYPES)
