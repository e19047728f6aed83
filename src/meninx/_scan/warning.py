"""A warning about an irregularity of a scan that does not prevent scoring."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScanWarning:
    """A warning about a scan.

    Args:
        code: Stable code for programs: `missing_slices`, `uneven_spacing`, `copies_dropped`, ...
        text: Message for readers: what, where, found against expected. It names no person.
    """

    code: str
    text: str

    def as_json(self) -> dict[str, str]:
        """Return the warning as public JSON."""
        return {"code": self.code, "text": self.text}
