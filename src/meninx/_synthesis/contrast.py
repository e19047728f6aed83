"""Compute the signal of each tissue in each MR sequence.

Tissue values at 1.5 T. Healthy tissue: those of the BrainWeb simulator (Kwan, Evans and Pike 1999,
IEEE Trans Med Imaging 18:1085). Tumor, necrosis and edema: within the wide ranges measured in
patients by Just and Thelen 1988 (Radiology 169:779); lesions vary around them by seed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from meninx._scan.scan import Sequence


@dataclass(frozen=True)
class Tissue:
    """Relaxation times and proton density of a tissue.

    Args:
        t1: Longitudinal relaxation time, ms.
        t2: Transverse relaxation time, ms.
        density: Proton density relative to water.
        uptake: Concentration of contrast agent after injection, mmol/l.
    """

    t1: float
    t2: float
    density: float
    uptake: float = 0.0


TISSUES: Mapping[str, Tissue] = {
    "air": Tissue(1.0, 1.0, 0.0),
    "csf": Tissue(2569.0, 329.0, 1.0),
    "gray": Tissue(833.0, 83.0, 0.86, uptake=0.02),
    "white": Tissue(500.0, 70.0, 0.77, uptake=0.01),
    "deep_gray": Tissue(760.0, 78.0, 0.84, uptake=0.02),
    "bone": Tissue(350.0, 20.0, 0.06),
    "marrow": Tissue(380.0, 60.0, 0.55),
    "fat": Tissue(350.0, 70.0, 0.90),
    "muscle": Tissue(900.0, 47.0, 0.85, uptake=0.05),
    "vitreous": Tissue(2569.0, 329.0, 1.0),
    "lens": Tissue(1000.0, 40.0, 0.7),
    "vessel": Tissue(1400.0, 30.0, 0.3, uptake=1.2),
    "pituitary": Tissue(760.0, 80.0, 0.85, uptake=0.35),
    "tumor_solid": Tissue(1150.0, 125.0, 0.90, uptake=0.5),
    "necrosis": Tissue(1900.0, 230.0, 0.97),
    "edema": Tissue(1150.0, 160.0, 0.92),
}
# Blood after days to weeks, extracellular methemoglobin, and the hemosiderin that stays (Bradley
# 1993, Radiology 189:15). Apart, so that signals of all other tissues stay the same by seed.
BLOOD: Mapping[str, Tissue] = {
    "blood": Tissue(330.0, 110.0, 0.85),
    "hemosiderin": Tissue(900.0, 18.0, 0.7),
}
# Longitudinal relaxivity of gadolinium chelates at 1.5 T and 37 degrees, l/(mmol s)
# (Rohrer et al. 2005, Invest Radiol 40:715: 4.1 to 4.7 for most).
_RELAXIVITY = 4.3


@dataclass(frozen=True)
class Timing:
    """Times of a spin-echo acquisition.

    Args:
        repetition: Repetition time TR, ms.
        echo: Echo time TE, ms.
        inversion: Inversion time TI, ms; None without inversion.
        contrast_agent: Whether a contrast agent was given.
    """

    repetition: float
    echo: float
    inversion: float | None = None
    contrast_agent: bool = False


def null_time(t1: float, repetition: float) -> float:
    """Return the inversion time at which a tissue gives no signal, ms.

    From 1 - 2 exp(-TI/T1) + exp(-TR/T1) = 0 (Bernstein, King and Zhou 2004, section 14.2).
    """
    return t1 * (math.log(2) - math.log1p(math.exp(-repetition / t1)))


_FLAIR_REPETITION = 9000.0
TIMINGS: Mapping[Sequence, Timing] = {
    "T1": Timing(520.0, 12.0),
    "T1c": Timing(520.0, 12.0, contrast_agent=True),
    "T2": Timing(4200.0, 98.0),
    "FLAIR": Timing(
        _FLAIR_REPETITION, 110.0, round(null_time(TISSUES["csf"].t1, _FLAIR_REPETITION))
    ),
}


def signal(tissue: Tissue, timing: Timing) -> float:
    """Return a tissue's signal, 0..1.

    Spin echo: S = PD (1 - exp(-TR/T1)) exp(-TE/T2); with inversion the longitudinal part is
    |1 - 2 exp(-TI/T1) + exp(-TR/T1)| (Bernstein, King and Zhou 2004, sections 14.1 and 14.2).

    Args:
        tissue: Relaxation of the tissue.
        timing: Times of the acquisition.

    Returns:
        Signal relative to that of water at full magnetization, 0..1.
    """
    t1 = tissue.t1
    if timing.contrast_agent and tissue.uptake:
        # 1/T1' = 1/T1 + r1 C, with r1 per second.
        t1 = 1 / (1 / t1 + _RELAXIVITY * tissue.uptake / 1000)
    recovered = math.exp(-timing.repetition / t1)
    if timing.inversion is None:
        longitudinal = 1 - recovered
    else:
        longitudinal = abs(1 - 2 * math.exp(-timing.inversion / t1) + recovered)
    return tissue.density * longitudinal * math.exp(-timing.echo / tissue.t2)


def varied_tissues(rng: np.random.Generator) -> dict[str, Tissue]:
    """Return tissues with random variation between people.

    Healthy tissue varies by some percent, tumors by tens of percent, as in the literature.
    """
    varied = {}
    for name, tissue in (*TISSUES.items(), *BLOOD.items()):
        spread = 0.2 if name in ("tumor_solid", "necrosis", "edema", *BLOOD) else 0.04
        t1, t2, uptake = np.exp(rng.normal(0, spread, 3))
        varied[name] = replace(
            tissue, t1=tissue.t1 * t1, t2=tissue.t2 * t2, uptake=tissue.uptake * uptake
        )
    return varied


def random_signals(rng: np.random.Generator) -> dict[str, float]:
    """Return a random signal for every tissue except air, a contrast of no real sequence.

    Training on these makes a network rely on shape rather than on contrast (SynthSeg, Billot et al.
    2023).
    """
    signals = {name: float(rng.uniform(0.05, 1.0)) for name in TISSUES}
    brain = float(rng.uniform(0.2, 0.8))
    step = float(rng.uniform(0.08, 0.3) * rng.choice((-1, 1)))
    signals["white"], signals["gray"] = brain, brain + step
    signals["deep_gray"] = brain + step * float(rng.uniform(0.4, 1.0))
    for name in ("tumor_solid", "edema", "necrosis"):
        # Far enough from white matter to be visible.
        signals[name] = brain + float(rng.uniform(0.12, 0.5) * rng.choice((-1, 1)))
    signals["air"] = 0.0
    signals["bone"] = float(rng.uniform(0.0, 0.15))
    signals |= {name: float(rng.uniform(0.05, 1.0)) for name in BLOOD}
    return {name: float(np.clip(value, 0, 1.2)) for name, value in signals.items()}
