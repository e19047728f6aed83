"""A warning about a scan that is odd and judged all the same, for readers of the finding."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScanWarning:
    """A warning about a scan.

    Args:
        code: Stable word for programs: `missing_slices`, `uneven_spacing`, `copies_dropped`, ...
        text: Message for a reader: what, where, found against expected. It names no person.
    """

    code: str
    text: str

    def as_json(self) -> dict[str, str]:
        """Return the warning as the public JSON has it."""
        return {"code": self.code, "text": self.text}
