"""Counts of what is missing of a scan or study; an incomplete one is always referred."""

from dataclasses import dataclass

# Reason of such a referral, and code of the comment in a structured report.
INCOMPLETE = "incomplete"
# First words of the counts of one series that do not end in "of the series".
_OF_SERIES = ("slices", "images of the acquisition", "images listed in DICOMDIR", "parts of")


@dataclass(frozen=True)
class Incomplete:
    """A number of expected items and the smaller number received.

    Args:
        what: Name of what is counted, in the plural: `instances of the study`, `slices`.
        expected: Number promised by a peer, a header, a DICOMDIR or a list.
        received: Number received, below `expected`.
    """

    what: str
    expected: int
    received: int

    @property
    def text(self) -> str:
        """The count in words."""
        return f"{self.received} of {self.expected} {self.what}"

    @property
    def of_series(self) -> bool:
        """Whether it counts what one series lacks; anything else may be of the whole study."""
        return self.what.startswith(_OF_SERIES) or "of the series" in self.what

    def as_json(self) -> dict[str, str | int]:
        """Return the count as the public JSON has it."""
        return {"what": self.what, "expected": self.expected, "received": self.received}


def incomplete_message(incomplete: tuple[Incomplete, ...]) -> str:
    """Return why an incomplete scan or study is referred, as a sentence; empty if complete."""
    if not incomplete:
        return ""
    counts = ", ".join(count.text for count in incomplete)
    return f"{INCOMPLETE}: {counts} came; fetch or export the rest before anything is concluded"
