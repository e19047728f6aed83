"""Recognize sequence, plane, skull and turn of a scan from a detector's linear heads.

A head names a kind only where it is certain: its threshold was chosen on held-out people. What
headers say is never replaced, only doubted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from meninx._scan.geometry import Plane
from meninx._scan.scan import Scan, Sequence
from meninx._scan.warning import ScanWarning

SEQUENCE, PLANE, SKULL, TURN = "sequence", "plane", "skull", "turn"
Skull = Literal["on", "stripped"]
# Counterclockwise rotation of a picture's content from upright, degrees.
Turn = Literal[0, 90, 180, 270]
TURNS: tuple[Turn, ...] = get_args(Turn)
# Code of the warning that a file does not say which way its slices are turned.
_UNORIENTED = "orientation_doubtful"


@dataclass(frozen=True)
class Head:
    """A linear head of a detector: what it tells apart, and when it is certain.

    Args:
        kinds: Names of its kinds, in the order of its logits.
        certain_picture: Smallest probability at which the kind of a picture is named, 0..1.
        certain_volume: Smallest mean probability over the slices of a volume, 0..1.
    """

    kinds: tuple[str, ...]
    certain_picture: float
    certain_volume: float


@dataclass(frozen=True)
class Recognized:
    """What a detector recognizes of a scan; None where it is not certain.

    Args:
        sequence: MR sequence; None also where the file names another contrast, of which the heads
            know nothing.
        plane: Anatomic plane of the slices.
        skull: Whether the skull is shown.
        turn: Counterclockwise rotation of the slices from upright, as stored, degrees.
    """

    sequence: Sequence | None = None
    plane: Plane | None = None
    skull: Skull | None = None
    turn: Turn | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as public JSON."""
        return {
            "sequence": self.sequence,
            "plane": self.plane,
            "skull": self.skull,
            "turn": self.turn,
        }


def recognized_from_json(stored: Mapping[str, Any] | None) -> Recognized | None:
    """Return what was recognized from its public JSON: the inverse of `as_json`."""
    return None if stored is None else Recognized(**stored)


def recognized_of(
    scan: Scan, logits: NDArray[np.float32], heads: Mapping[str, Head]
) -> Recognized | None:
    """Return what heads recognize of a scan.

    Args:
        scan: The scan.
        logits: Logits of all heads for each of its slices, shape (n, k).
        heads: Heads by name, in the order of the logits.

    Returns:
        The likeliest kind of each head by the mean probability over the slices, where that is
        certain; None for a detector without heads.
    """
    if not heads:
        return None
    named: dict[str, str | None] = {}
    for name, shares in _mean_probabilities(logits, heads).items():
        kind = max(shares, key=lambda kind: shares[kind])
        named[name] = kind if shares[kind] >= _certain(scan, heads[name]) else None
    turn, sequence = named.get(TURN), None if scan.other_contrast else named.get(SEQUENCE)
    return Recognized(
        sequence=cast("Sequence | None", sequence),
        plane=cast("Plane | None", named.get(PLANE)),
        skull=cast("Skull | None", named.get(SKULL)),
        turn=None if turn is None else cast("Turn", int(turn)),
    )


def _mean_probabilities(
    logits: NDArray[np.float32], heads: Mapping[str, Head]
) -> dict[str, dict[str, float]]:
    """Return the mean probability of each kind of each head over the slices."""
    found: dict[str, dict[str, float]] = {}
    start = 0
    for name, head in heads.items():
        own = logits[:, start : start + len(head.kinds)].astype(np.float64)
        start += len(head.kinds)
        shares = np.exp(own - own.max(axis=1, keepdims=True))
        mean = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
        found[name] = dict(zip(head.kinds, map(float, mean), strict=True))
    return found


def _certain(scan: Scan, head: Head) -> float:
    return head.certain_volume if scan.is_volume else head.certain_picture


def turn_to_try(scan: Scan, logits: NDArray[np.float32], heads: Mapping[str, Head]) -> Turn:
    """Return the rotation that is worth undoing, to see whether the slices are upright then.

    Args:
        scan: The scan.
        logits: Logits of all heads for each of its slices, shape (n, k).
        heads: Heads by name, in the order of the logits.

    Returns:
        The rotation that is certain at first look, degrees; 0 where there is none, and where the
        file gives an orientation.
    """
    if TURN not in heads or is_oriented(scan):
        return 0
    shares = _mean_probabilities(logits, heads)[TURN]
    kind = max(shares, key=lambda kind: shares[kind])
    return cast("Turn", int(kind)) if shares[kind] >= _certain(scan, heads[TURN]) else 0


def is_turned(
    scan: Scan,
    turn: Turn,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    heads: Mapping[str, Head],
) -> bool:
    """Return whether slices are certainly turned.

    One look takes one upright picture in a hundred for a turned one. The second look, at the
    picture turned back, has to agree.

    Args:
        scan: The scan.
        turn: Rotation that was tried, degrees.
        before: Logits of all heads for its slices as stored, shape (n, k).
        after: Logits for the slices turned back, shape (n, k).
        heads: Heads by name, in the order of the logits.

    Returns:
        Whether both the rotation as stored, and that there is none afterwards, are certain.
    """
    first, second = (_mean_probabilities(logits, heads)[TURN] for logits in (before, after))
    return min(first[str(turn)], second["0"]) >= _certain(scan, heads[TURN])


def sequence_scored_as(named: Sequence, recognized: Recognized | None) -> Sequence:
    """Return the sequence as which a scan is scored.

    Args:
        named: Sequence by its headers or name.
        recognized: What was recognized of it.

    Returns:
        The named one; where none is named, the recognized one.
    """
    if named != "unknown" or recognized is None or recognized.sequence is None:
        return named
    return recognized.sequence


def calibrated_as(named: Sequence, recognized: Recognized | None, *, volume: bool) -> Sequence:
    """Return the sequence whose calibrator scores a scan.

    Args:
        named: Sequence by its headers or name.
        recognized: What was recognized of it.
        volume: Whether it has more than one slice.

    Returns:
        The sequence as which it is scored; `unknown` for a picture that looks sagittal or coronal:
        calibrators of pictures by sequence are fitted on axial slices, the pooled one on all.
    """
    other_plane = recognized is not None and recognized.plane in ("sagittal", "coronal")
    if other_plane and not volume:
        return "unknown"
    return sequence_scored_as(named, recognized)


def plane_scored_as(scan: Scan, recognized: Recognized | None) -> Plane | None:
    """Return the plane of a volume's slices by its geometry, else the recognized one; else None."""
    if not scan.is_volume:
        return None
    return scan.view.plane or (None if recognized is None else recognized.plane)


def recognition_warnings(
    scan: Scan, recognized: Recognized | None, *, by_sequence: bool
) -> tuple[ScanWarning, ...]:
    """Return the warnings on what was recognized: what it is used for, and what it contradicts.

    Args:
        scan: The scored scan.
        recognized: What was recognized of it.
        by_sequence: Whether its answer depends on the sequence as which it is scored.

    Returns:
        The warnings; none for a detector without heads.
    """
    if recognized is None:
        return ()
    return (
        *_of_turn(scan, recognized),
        *_of_sequence(scan, recognized, by_sequence=by_sequence),
        *_of_plane(scan, recognized),
    )


def is_oriented(scan: Scan) -> bool:
    """Return whether the file says which way its slices are turned."""
    guessed = any(warning.code == _UNORIENTED for warning in scan.warnings)
    return scan.affine is not None and not (scan.geometry_estimated or guessed)


def _of_turn(scan: Scan, recognized: Recognized) -> tuple[ScanWarning, ...]:
    if not recognized.turn:
        return ()
    what = "slices" if scan.is_volume else "picture"
    how = "upside down" if recognized.turn == 180 else f"turned by {recognized.turn} degrees"
    if not is_oriented(scan):
        text = f"the {what} was stored {how} (counterclockwise) and was turned back before scoring"
        return (ScanWarning("turned_back", text),)
    text = f"the slices look {how}, against the orientation in the file, which was kept"
    return (ScanWarning("turn_contradicted", text),)


def _of_sequence(
    scan: Scan, recognized: Recognized, *, by_sequence: bool
) -> tuple[ScanWarning, ...]:
    if recognized.sequence in (None, scan.sequence):
        return ()
    if scan.sequence == "unknown":
        what = f"the file names no sequence; it looks like {recognized.sequence}"
        text = f"{what} and was scored as such" if by_sequence else what
        return (ScanWarning("sequence_recognized", text),)
    text = f"the file says {scan.sequence}, which was kept; it looks like {recognized.sequence}"
    return (ScanWarning("sequence_contradicted", text),)


def _of_plane(scan: Scan, recognized: Recognized) -> tuple[ScanWarning, ...]:
    plane = scan.view.plane
    if plane is None or recognized.plane in (None, plane):
        return ()
    text = f"the file says {plane} slices, which was kept; they look {recognized.plane}"
    return (ScanWarning("plane_contradicted", text),)
