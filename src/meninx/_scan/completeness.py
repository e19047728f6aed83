"""What was promised and did not come: an incomplete scan is never answered as a complete one."""

from dataclasses import dataclass

# Reason of an answer that is referred for it, and code of the remark in a structured report.
INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Incomplete:
    """A count of what was promised beside what came.

    Args:
        what: Name of what is counted, in the plural: `instances of the study`, `slices`.
        expected: Number that was promised: by a peer, a header, a directory or a list.
        received: Number that came, below `expected`.
    """

    what: str
    expected: int
    received: int

    @property
    def text(self) -> str:
        """The count in words, for a reader."""
        return f"{self.received} of {self.expected} {self.what}"

    def as_json(self) -> dict[str, str | int]:
        """Return the count as the public JSON has it."""
        return {"what": self.what, "expected": self.expected, "received": self.received}


def incomplete_message(incomplete: tuple[Incomplete, ...]) -> str:
    """Return why a scan or study that came incomplete is referred, as a sentence; else empty."""
    if not incomplete:
        return ""
    counts = ", ".join(count.text for count in incomplete)
    return f"{INCOMPLETE}: {counts} came; fetch or export the rest before anything is concluded"
