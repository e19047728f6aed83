"""Name the tumor types and their codes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TumorType:
    """Hold one type of tumor.

    Args:
        name: As in manifests and in the public JSON.
        display: As a reader sees it.
        snomed: Its SNOMED CT code and that code's own words.
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
