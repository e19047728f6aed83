"""The sections of `meninx.toml`, apart from what reads them: most verbs have none."""

from collections.abc import Mapping
from types import MappingProxyType

# The sections, and the verb whose options are a section's keys.
VERB_OF_SECTION: Mapping[str, str] = MappingProxyType(
    {"web": "serve", "receive": "receive", "score-archive": "score-archive"}
)
# The section that each verb reads.
SECTION_OF_VERB: Mapping[str, str] = MappingProxyType(
    {
        **{verb: section for section, verb in VERB_OF_SECTION.items()},
        **dict.fromkeys(("worker", "reset-password", "verify-opinions", "export-opinions"), "web"),
    }
)
