"""Something odd about a scan that is judged all the same, said to whoever reads the finding."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScanWarning:
    """A warning about a scan.

    Args:
        code: Stable, for programs: `missing_slices`, `uneven_spacing`, `copies_dropped`, ...
        text: The same for a reader: what, where, found against expected. It names nobody.
    """

    code: str
    text: str

    def as_json(self) -> dict[str, str]:
        """Return the warning as the public JSON has it."""
        return {"code": self.code, "text": self.text}
