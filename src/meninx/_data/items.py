"""Pictures and volumes of a collection, and the labels that folder names stand for."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meninx._labels import TYPE_NAMES
from meninx._scan.sequence import sequence_from_text


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text, which a table of names is written as."""
    return tuple(text.split())


# Folder names in use, without separators, in several languages.
_TUMOR_FREE_NAMES = words_of("""
    no notumor notumour notumors normal normals healthy negative none control controls 0
    tumorfree nontumor nontumorous healthybrain normalbrain withouttumor nein keintumor
    ohnetumor gesund sain sains sanstumeur sano sanos sana sintumor semtumor saudavel sani
    normale normali senzatumore neg negativo negativa negatif negativ gesunde nocancer noncancer
    tumorless pasdetumeur healthycontrol healthycontrols withouttumour kein keine non nao
    """)
_TUMOR_NAMES = words_of("""
    yes tumor tumour tumors tumours positive braintumor braintumour braintumors abnormal cancer
    1 withtumor tumorous ja mittumor tumeur tumeurs avectumeur contumor tumores comtumor tumore
    tumori contumore pos positivo positiva positif positiv withtumour oui si sim malignant
    tumoral
    """)
# "tumor_free" and "glioma negative" name an absent tumor.
_TUMOR_FREE_ENDS = ("free", "negative")
_NEGATIONS = words_of("""
    no non not without negative neg ohne kein sans sin sem senza
    """)
# Words without a meaning of their own beside others: "Brain_Glioma", "_NORMAL T1", "Glioma - yes".
_FILLERS = words_of("""
    brain mri mr class the tumor tumour yes positive pos t1 t2 t1c t1ce t1w t2w flair pd c
    """)
# Beginnings of diagnoses in several languages (WHO 2021: astrocytomas, oligodendrogliomas and
# glioblastomas are gliomas).
_TYPE_BEGINNINGS = {
    "glioma": words_of("""
        gliom glioblast astrocyt astrocit astrozyt oligodendro gbm hgg lgg
        """),
    "meningioma": ("meningiom", "meningeom"),
    "pituitary": ("pituitar", "hypophys", "hipofis", "ipofis"),
    "unknown": words_of("""
        metasta schwann neurinom carcinom karzinom craniophar craneofar kraniophar
        medulloblast meduloblast ependym germinom neurocyt neurocit lymphom gangliogliom
        hemangioblast chordom sarcom
        """),
}
# The label of a folder that is left out.
LEFT_OUT = "out"


@dataclass(frozen=True)
class Item:
    """A picture or volume of a collection.

    Args:
        path: File.
        tumor: Whether it shows a tumor; None where its mask decides.
        tumor_type: One of `labels.TYPE_NAMES`; None where it has no tumor or an unknown one.
        mask: File of its mask; None where there is none.
        person: Name of the person; empty where unknown.
        site: Hospital or source within the collection; empty if unknown.
        sequence: `T1`, `T1c`, `T2`, `FLAIR`; empty if unknown.
        stack: Name of its stack, the neighboring slices of one person and sequence; empty if it
            stands alone.
        position: Place along the stack; None if unknown.
        gap_mm: Distance between slices of the stack, mm; None if unknown.
        group: Group in the user's table, else empty; its items share a fold.
        fold: Fold in the user's table, else 0.
        split: `train`, `validation` or `test` where the folder names one, else empty.
        source: Name of the collection.
        extra: Further columns, kept for subgroups.
    """

    path: Path
    tumor: bool | None
    tumor_type: str | None = None
    mask: Path | None = None
    person: str = ""
    site: str = ""
    sequence: str = ""
    stack: str = ""
    position: int | None = None
    gap_mm: float | None = None
    group: str = ""
    fold: int = 0
    split: str = ""
    source: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


_BELOW_ZERO = re.compile(r"[-\u2010-\u2015\u2212]\s*\d.*")


def label_of(name: str) -> str | None:
    """Return the label that a folder's name gives to its pictures.

    Args:
        name: Name of the folder, such as `glioma_tumor` or `No Tumor`.

    Returns:
        A type's name, `none` for no tumor, `unknown` for a tumor of unknown type; None where the
        name gives no label.
    """
    # -1 is tumor-free in some tables (scikit-learn), uncertain in others (CheXpert).
    if _BELOW_ZERO.fullmatch(name.strip()):
        return None
    letters = unicodedata.normalize("NFKD", name.lower())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = re.findall("[a-z0-9]+", plain)
    word = "".join(words)
    if word in _TUMOR_FREE_NAMES:
        return "none"
    if word in _TUMOR_NAMES:
        return "unknown"
    for kind in ("tumor", "tumour", *TYPE_NAMES):
        if word.startswith(kind) and word.endswith(_TUMOR_FREE_ENDS):
            return "none"
    return _label_of_words(words)


def _label_of_words(words: list[str]) -> str | None:
    """Return the label that lower-case words without accents give to pictures."""
    named = [word for word in words if _has_meaning(word)]
    negated = not set(words).isdisjoint(_NEGATIONS)
    if not named:
        named_tumor = not {"tumor", "tumour"}.isdisjoint(words)
        return ("none" if negated else "unknown") if named_tumor else None
    # "No glioma" may be another tumor.
    if negated:
        return None
    labels = {_label_of_word(word) for word in named} - {None}
    # A person's name may follow the name of a type; any other word may precede it.
    return labels.pop() if len(labels) == 1 and _label_of_word(named[0]) else None


def _has_meaning(word: str) -> bool:
    """Return whether a word may name a class by itself."""
    return not (word.isdecimal() or word in _FILLERS or word in _NEGATIONS)


def _label_of_word(word: str) -> str | None:
    if word in _TUMOR_FREE_NAMES:
        return "none"
    kinds = (kind for kind, beginnings in _TYPE_BEGINNINGS.items() if word.startswith(beginnings))
    return "meningioma" if word == "menin" else next(kinds, None)


def tumor_type_of(label: str | None) -> str | None:
    """Return the tumor type that a label names; None for no tumor or one of unknown type."""
    return label if label in TYPE_NAMES else None


def normal_sequence(text: str) -> str:
    """Return the name of the sequence that a table's cell or a file's name means.

    Args:
        text: Text, such as `t1`, `T1Gd` or `t2_flair`.

    Returns:
        `T1`, `T1c`, `T2` or `FLAIR`; empty for other texts.
    """
    sequence = sequence_from_text(text)
    return "" if sequence == "unknown" else sequence


def stem_of(path: Path) -> str:
    """Return a volume's name in lower case, without the suffixes of its format."""
    return path.name.lower().removesuffix(".gz").rpartition(".")[0]
