"""Find from a DICOM header whether an image shows an animal."""

from pydicom import Dataset

from meninx._errors import UnsupportedScan
from meninx._scan.dicom.values import items, text
from meninx._scan.header_words import PLACEHOLDERS, word_set
from meninx._scan.relevance import normalized

# Homo sapiens in SNOMED CT, in the older SNOMED RT, in UMLS and in NCBI's taxonomy.
_HUMAN_CODES = frozenset(["337915000", "L-85B00", "C0086418", "9606"])
_PUBLIC_SCHEMES = ("SCT", "SRT", "SNM3", "99SDM", "UMLS", "NCBITAXID")
HUMAN = "Homo sapiens"
_HUMAN_BEGINNINGS = ("HUMAN", "HOMO", "HUMAIN", "UMAN", "MENSCH", "PATIENT", "PERSON")
# Values that de-identification leaves, and words for a missing value.
_SPECIES_PLACEHOLDERS = PLACEHOLDERS | frozenset(
    ["", "REMOVED", "DELETED", "REDACTED", "XXX", "ANON", "ANONYM", "EMPTY", "BLANK", "NO VALUE"]
)
_PLACEHOLDER_BEGINNINGS = ("ANONYM", "DEIDENT", "DE IDENT", "PSEUDONYM", "REMOVED", "NOT ")
# Attributes that only animals have (DICOM PS3.3 C.7.1.1: breed, strain, whether neutered).
_TEXTS_OF_ANIMALS = (
    "PatientBreedDescription",
    "StrainDescription",
    "StrainNomenclature",
    "PatientSexNeutered",
)
_SEQUENCES_OF_ANIMALS = (
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "StrainCodeSequence",
    "StrainStockSequence",
    "GeneticModificationsSequence",
)
_ROLES_OF_ANIMALS = ("OWNER", "VETERINARIAN")
_DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName", "BodyPartExamined")
# Words of descriptions, and beginnings of words there and in the institution's name. None has
# another meaning in a hospital, as CAT does.
_ANIMAL_WORDS = word_set(
    "K9 VET VETS DOG DOGS CANINE CANIS FELINE FELIS EQUINE BOVINE PORCINE OVINE MURINE RODENT "
    "MOUSE MICE RATS RATTUS RABBIT MACAQUE MACACA MONKEY MARMOSET FERRET SHEEP HORSE HUND "
    "KATZE PFERD KANINCHEN CHIEN CHEVAL LAPIN PERRO CABALLO CONEJO GATTO CACHORRO "
    "CAVALO"
)
_VETERINARY_BEGINNINGS = ("VETERIN", "TIERKLIN", "TIERARZ", "TIERMEDIZ", "TIERSPIT", "KLEINTIER")


def animal(dataset: Dataset) -> UnsupportedScan | None:
    """Return why an image of an animal is excluded; None for a person's.

    Args:
        dataset: Header of an image.

    Returns:
        The refusal. If the species is Homo sapiens, nothing else counts.

    References:
        DICOM PS3.3 C.7.1.1: PatientSpeciesDescription, PatientSpeciesCodeSequence.
    """
    species = _species(dataset)
    animals = [name for name in species if name != HUMAN]
    if not animals and species:
        return None
    named = next(iter(animals), None) or _attribute_of_animals(dataset) or _word(dataset)
    if named is None:
        return None
    return UnsupportedScan(
        f"the header says that it shows an animal ({named}); expected the head of a person",
        reason="not_brain",
    )


def _species(dataset: Dataset) -> list[str]:
    """Return the species that the header names, HUMAN for people."""
    species = text(dataset, "PatientSpeciesDescription")
    named = [] if _is_placeholder(species) else [HUMAN if _is_human(species) else species]
    for code in items(dataset, "PatientSpeciesCodeSequence"):
        value, meaning = text(code, "CodeValue"), text(code, "CodeMeaning")
        scheme = text(code, "CodingSchemeDesignator")
        if value in _HUMAN_CODES or _is_human(meaning):
            named.append(HUMAN)
        elif not _is_placeholder(meaning):
            named.append(meaning)
        elif value and scheme in _PUBLIC_SCHEMES:
            named.append(f"species {value} of {scheme}")
    return named


def _is_human(words: str) -> bool:
    return normalized(words).startswith(_HUMAN_BEGINNINGS)


def _is_placeholder(value: str) -> bool:
    words = normalized(value)
    return words in _SPECIES_PLACEHOLDERS or words.startswith(_PLACEHOLDER_BEGINNINGS)


def _attribute_of_animals(dataset: Dataset) -> str | None:
    """Return the name of an attribute that only animals have; None if none is given."""
    given = (name for name in _TEXTS_OF_ANIMALS if not _is_placeholder(text(dataset, name)))
    listed = (name for name in _SEQUENCES_OF_ANIMALS if any(map(len, items(dataset, name))))
    role = text(dataset, "ResponsiblePersonRole").upper()
    named = next(given, None) or next(listed, None)
    return named or (f"ResponsiblePersonRole {role}" if role in _ROLES_OF_ANIMALS else None)


def _word(dataset: Dataset) -> str | None:
    """Return a word of descriptions, or of the institution's name, that names an animal."""
    descriptions = " ".join(text(dataset, name) for name in _DESCRIPTIONS)
    words = normalized(descriptions).split()
    institution = normalized(text(dataset, "InstitutionName")).split()
    animals = (word for word in words if word in _ANIMAL_WORDS)
    hospitals = (word for word in (*words, *institution) if word.startswith(_VETERINARY_BEGINNINGS))
    return next(animals, None) or next(hospitals, None)
