"""Training slices of simulated heads, made on all cores."""

import logging
import multiprocessing
import os
from collections.abc import Sequence as Several
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meninx._detect.neighbors import neighbor_indices
from meninx._detect.preprocessing import crop_window_of
from meninx._learn.input.dataset import SIMULATED, Example, Facts
from meninx._scan.scan import Scan
from meninx._synthesis.packed_heads import RealHead
from meninx._synthesis.simulated_scans import (
    FIRST_AUGMENTED_SEED,
    FIRST_TRAINING_SEED,
    simulated_stacks,
)

log = logging.getLogger(__name__)


class HeadJob(NamedTuple):
    """Heads that one process simulates from one real head, or from shapes.

    Args:
        template: File of the real head; None for heads made of shapes.
        person: Name of the person; empty where it is not known.
        fold: Fold of the person's scans; 0 for none.
        seeds: Seed of each head; every second head gets a lesion, so that heads do not reveal it.
        treated: Share of gliomas that were treated, 0..1.
    """

    template: Path | None
    person: str
    fold: int
    seeds: tuple[int, ...]
    treated: float


# Number of heads per job: preparing a real head takes as long as making ten.
_HEADS_PER_JOB = 14


def _in_parts(seeds: Several[int]) -> list[tuple[int, ...]]:
    return [
        tuple(seeds[first : first + _HEADS_PER_JOB])
        for first in range(0, len(seeds), _HEADS_PER_JOB)
    ]


@lru_cache(maxsize=1)  # shared by the folds of a cross-validation
def simulated_examples(
    phantoms: int,
    augmented_heads: int = 0,
    heads: tuple[RealHead, ...] = (),
    treated: float = 0.0,
) -> tuple[Example, ...]:
    """Return slices of simulated heads, every other head with a lesion, in random planes.

    Args:
        phantoms: Number of heads made of shapes.
        augmented_heads: Number of heads made from each real head.
        heads: Real heads.
        treated: Share of gliomas that were treated: rings, cavities, blood; 0..1.

    Returns:
        Up to three stacks of four slices a head, fewer where some are blank.

    Raises:
        InputError: If a real head can't be read or used.
    """
    seeds = [FIRST_TRAINING_SEED + number for number in range(phantoms)]
    jobs = [HeadJob(None, "", 0, part, treated) for part in _in_parts(seeds)]
    for which, head in enumerate(heads):
        seeds = [FIRST_AUGMENTED_SEED + n * len(heads) + which for n in range(augmented_heads)]
        jobs += [
            HeadJob(head.path, head.person, head.fold, part, treated) for part in _in_parts(seeds)
        ]
    examples: list[Example] = []
    # A real head takes seconds and some 100 MB to prepare, so one process makes many heads from it.
    with multiprocessing.get_context("fork").Pool(min(len(jobs), os.cpu_count() or 1)) as pool:
        for number, part in enumerate(pool.imap(_examples_of_job, jobs), start=1):
            examples += part
            log.info("simulated heads: %d of %d parts", number, len(jobs))
    return tuple(examples)


def _examples_of_job(job: HeadJob) -> list[Example]:
    return [
        example
        for scan, mask in simulated_stacks(job.template, job.seeds, job.treated)
        for example in examples_of_scan(scan, mask, job.person, job.fold)
    ]


def examples_of_scan(
    scan: Scan, mask: NDArray[np.uint8], person: str = "", fold: int = 0
) -> list[Example]:
    """Return the slices of a simulated scan.

    Args:
        scan: The scan.
        mask: Segmentation mask of the tumor, in the scan's shape.
        person: Name of the person of the head template; empty for none.
        fold: Fold of that person's scans; 0 for none.

    Returns:
        One training slice per slice of the scan, in order.
    """
    crop_window = crop_window_of(np.stack([slice_.image for slice_ in scan.slices()]))
    away = neighbor_indices(len(scan), scan.slice_gap_mm) - np.arange(len(scan))[:, None]
    examples = []
    for slice_, (below, _, above) in zip(scan.slices(), away, strict=True):
        truth = scan.view.cut(mask, slice_.index).astype(np.float32)
        facts = Facts(
            kind=SIMULATED,
            below=int(below),
            above=int(above),
            person=person,
            fold=fold,
            source="simulated",
            sequence=scan.sequence,
            plausible=scan.sequence != "unknown",
        )
        examples.append(
            Example(
                slice_.image,
                truth if truth.any() else None,
                facts,
                crop_window,
                slice_.pixel_spacing,
            )
        )
    return examples
