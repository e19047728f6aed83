"""Find whether a contrast agent was given, from descriptions and from ContrastBolusAgent.

Words are those of `header_words`, in English, German, French, Spanish, Portuguese, Italian and
Dutch.
"""

import re

from meninx._scan.header_words import AGENT_BRANDS, NO_AGENT_VALUES, NOT_AFTER_POST
from meninx._scan.relevance import without_accents

_AGENT = (
    r"(contrast\w*|kontrast\w*|gd|gad|gado\w*|gadavist|km(g|gabe)?|mdc|cte|civ|enh(anced)?"
    r"|inj(ect\w*)?|inyec\w*|iniez\w*)"
)
_WITHOUT = (
    r"(without|w/o|wo|no|non|not|un(?=-?enh)|pre|prae|pra|before|ohne|kein\w*|vor|sans|sin|s/|sem|senza"
    r"|avant|antes|prima|voor|zonder|geen)"
)
# The same without the letter that is unknown or was decoded by another character set.
_WITHOUT_LOST = r"pra?[^a-z0-9\s]{1,2}"
# What `dicom.character_set` writes for a byte of an unknown character set.
_UNKNOWN_LETTER = re.compile("\N{REPLACEMENT CHARACTER}[0-9a-f]{2}|\N{REPLACEMENT CHARACTER}")
# Between the two, as in "prima del mdc" and "sans produit de contraste".
_LINK = r"([ _.-]*(iv|ev|the|any|der|des|del?|d[io]|produit|mezzo|medio))*[ _.-]*"
_NO_CONTRAST = re.compile(
    rf"(?<![a-z])({_WITHOUT}|{_WITHOUT_LOST}){_LINK}({_AGENT}|c)(?![a-z])"
    r"|(?<![a-z])o\.?[ _]*(km|kontrast\w*)(?![a-z])"
    rf"|(?<=[ _])-({_AGENT}|c)(?![a-z])"
    r"|(?<![a-z])c-(?![a-z0-9])"
)
# Contrast between tissues.
_OF_TISSUES = re.compile(
    r"(high|low|tissue|image|gr[ae]y|soft)[ _-]*contrast|contrast[ _-]*(optim|ratio|adjust)\w*"
)
# A protocol of both kinds of series says nothing of this one.
_OF_BOTH = rf"(?![a-z])([ _-]*(iv[ _-]*)?{_AGENT})?"
_AND = "(/|&|und|et|e|y|en)"
_BOTH = re.compile(
    rf"(?<![a-z])w(ith)?[ _]*(/|&|and|or)?[ _]*(w/?o|without){_OF_BOTH}"
    rf"|(?<![a-z])(w/?o|without)[ _]*(/|&|and|or)?[ _]*w(ith)?{_OF_BOTH}"
    rf"|(?<![a-z])(mit|avec|con|com|met)[ _]*{_AND}[ _]*(ohne|sans|senza|sin|sem|zonder){_OF_BOTH}"
    rf"|(?<![a-z])(ohne|sans|senza|sin|sem|zonder)[ _]*{_AND}[ _]*(mit|avec|con|com|met){_OF_BOTH}"
    rf"|(?<![a-z])c/s{_OF_BOTH}"
)
_CONTRAST = re.compile(
    r"t1(w)?[-_ ]?(c|ce|gd|km|p[cg])(?![a-z]|[ _-]?spine)"
    rf"|((?<![a-z])|(?<=t1w))post(?![a-z])(?![ ._-]*(?:{'|'.join(NOT_AFTER_POST)}))"
    rf"|(?<![a-z])(post)?({_AGENT}|ce)(?![a-z])"
    r"|(?<![a-z])(post-?con|c/c)(?![a-z])|(?<![a-z])p\. ?c\."
    rf"|(?<![a-z])({'|'.join(AGENT_BRANDS)})"
    r"|\+ ?c(?![a-z])|(?<![a-z0-9])c ?\+|(?<![a-z])iv ?\+"
)
# Single letters with dots, as in "m.d.c.", without them; "p.c." alone has another meaning then.
_DOTTED = re.compile(r"(?<![a-z.])(?!p\.)([a-z])\.([a-z])\.(?:([a-z])\.?)?(?![a-z])")
_NO_AGENT = re.compile(
    rf"({'|'.join(NO_AGENT_VALUES)}|x+)(?![a-z])|[^a-z0-9]+$"
    rf"|(test|plain)(?![a-z])(?!.*({'|'.join(AGENT_BRANDS)}|gado|gd))"
    r"|.*(?<![a-z])(refus|declin|abgelehnt|verweigert|cancel"
    r"|not (given|used|admin[a-z]*)(?![a-z]| (by|via|with|elsewhere)))"
    # The only number is a dose of 0, at the end or with its unit at the beginning.
    r"|(?!.*(batch|flow|fluss|lot|rate))[^0-9]*0+([.,]0*)? *(ml|cc|mmol\w*)?[^a-z0-9]*$"
    r"|0+([.,]0*)? *(ml|cc|mmol\w*)(?![a-z])[^0-9]*$"
)


def names_agent(value: str) -> bool:
    """Return whether a header's value for the contrast agent says that one was given.

    Args:
        value: ContrastBolusAgent, or the like.

    Returns:
        Whether it names an agent; not for a dose of 0, "none" in any words, or what
        de-identification leaves.
    """
    return bool(value.strip()) and _NO_AGENT.match(_plain(value)) is None


def has_contrast(text: str) -> bool:
    """Return whether a description says that a contrast agent was given."""
    text = _OF_TISSUES.sub(" ", _BOTH.sub(" ", _plain(text)))
    return bool(_CONTRAST.search(text)) and not _NO_CONTRAST.search(text)


def _plain(text: str) -> str:
    """Return a text in small letters without accents, and abbreviations without dots."""
    text = _UNKNOWN_LETTER.sub("?", without_accents(text.upper()).lower().strip())
    return _DOTTED.sub(lambda found: "".join(filter(None, found.groups())), text)
