"""Free-response ROC (FROC): share of lesions marked against false marks a scan."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meninx._assess.intervals import Figure, share_interval
from meninx._assess.lesions import PERCENTS, LesionResult
from meninx._assess.volumes import bootstrap_interval

ALL_LESIONS = "all lesions"
# Strata of lesions by volume, ml: names, and the smallest volume of each.
_STRATA = {"under 1 ml": 0.0, "1 to 10 ml": 1.0, "over 10 ml": 10.0}


@dataclass(frozen=True)
class FrocPoint:
    """Lesions and false marks at one heat.

    Args:
        heat: Heat from which on a voxel is marked, 0..1.
        false_marks: Mean number of marked places a scan that touch no lesion.
        sensitivity: Share of lesions marked: of all, and of each stratum that has some.
        lesions: Number of lesions of each.
    """

    heat: float
    false_marks: Figure
    sensitivity: Mapping[str, Figure]
    lesions: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "heat": self.heat,
            "false_marks_a_scan": self.false_marks.as_json(),
            "sensitivity": {name: share.as_json() for name, share in self.sensitivity.items()},
            "lesions": dict(self.lesions),
        }


def grown_together(points: Sequence[FrocPoint]) -> frozenset[float]:
    """Return the heats at which marks have grown together.

    There are fewer false marks than at a higher heat, although more voxels are marked: neighboring
    marks have become one, and one that reaches a lesion counts as none that is false.

    Args:
        points: Points of a FROC curve, the highest heat first.

    Returns:
        Heats of such points.
    """
    most = itertools.accumulate((point.false_marks.value for point in points), max)
    return frozenset(
        point.heat
        for point, highest in zip(points, most, strict=True)
        if point.false_marks.value < highest
    )


def froc_curve(results: Sequence[LesionResult], cluster: NDArray[np.intp]) -> tuple[FrocPoint, ...]:
    """Return lesions marked and false marks at each heat, the highest first.

    Each connected part of a mask is a lesion, each connected part of the voxels from a heat on a
    mark. A lesion is marked if a mark touches it, so at low heats one large mark may find several.

    Args:
        results: Heat maps of n scans against their masks, tumor-free ones too.
        cluster: Cluster of each scan, the same for all of a person, shape (n,).

    Returns:
        One point a heat; none without a lesion.

    References:
        Bunch et al. 1977, A free response approach to the measurement and characterization of
        radiographic observer performance.
    """
    sizes = np.concatenate([result.sizes_ml for result in results]) if results else np.empty(0)
    if not len(sizes):
        return ()
    own = np.repeat(cluster, [len(result.sizes_ml) for result in results])
    marked = np.concatenate([result.marked for result in results], axis=1)  # [heats, lesions]
    strata = {ALL_LESIONS: np.ones(len(sizes), dtype=bool)}
    limits = [*_STRATA.values(), np.inf]
    for (name, low), high in zip(_STRATA.items(), limits[1:], strict=True):
        strata[name] = (sizes >= low) & (sizes < high)
    lesions = {name: int(members.sum()) for name, members in strata.items() if members.any()}

    def point(place: int) -> FrocPoint:
        def false_marks(drawn: Sequence[LesionResult]) -> float:
            return float(np.mean([result.false_marks[place] for result in drawn]))

        return FrocPoint(
            float(PERCENTS[place]) / 100,
            Figure(false_marks(results), *bootstrap_interval(results, false_marks, cluster)),
            {
                name: share_interval(marked[place, strata[name]], own[strata[name]])
                for name in lesions
            },
            lesions,
        )

    return tuple(point(place) for place in range(len(PERCENTS)))
