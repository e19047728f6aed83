"""Findings as a worker stores them, made up: nothing is scored."""

from dataclasses import asdict

from meninx._web.store.stored_results import SeriesIdentity

MODEL = {"name": "meninx", "sha256": "ab" * 32}
TYPES = {"glioma": 0.88, "meningioma": 0.1, "pituitary": 0.02}


def finding(sequence="T1c", decision="tumor", **more):
    """A stored finding of a scored series with nothing to draw."""
    return {
        "scan": "series 1",
        "identity": {},
        "sequence": sequence,
        "status": "scored",
        "reason": None,
        "message": None,
        "decision": decision,
        "probability": 0.398,
        "borders": {"no_tumor_below": 0.21, "tumor_from": 0.39},
        "prevalence": 0.5,
        "p_values": {"tumor": 0.09, "no_tumor": 0.26},
        "coverage": 0.95,
        "reference": {"scans": "T1c series", "tumor": 71, "tumor_free": 40, "borrowed": 40},
        "types": TYPES if (sequence, decision) == ("T1c", "tumor") else {},
        "slices": [],
        "warnings": [],
        "incomplete": [],
        "model": MODEL,
        "milliseconds": {},
        "series": asdict(SeriesIdentity()),
        "viewer": None,
        "preview": "",
        "why": "",
        "objects": 0,
    } | more


VIEWER = {
    "volume": "0.nii",
    "heat": None,
    "picture": None,
    "thumb": "",
    "plane": "axial",
    "shape": [100, 90, 24],
    "slice_axis": 2,
    "geometry": True,
    "withheld": None,
    # LPS: the patient's left is where i is high; the head's middle lies at i = 50.
    "affine": [[2, 0, 0, 10], [0, 2.5, 0, -80], [0, 0, 3, 0], [0, 0, 0, 1]],
    "spacing_mm": [2, 2.5, 3],
    "midline_mm": 110,
    "regions": [
        {
            "side": "left",
            "extent_mm": [34, 28, 15],
            "slices": [9, 13],
            "peak": [70, 40, 11],
            "point_mm": [150.0, 20.0, 33.0],
            "box": {"from": [62, 35, 9], "to": [78, 45, 13]},
            "score": 0.97,
        },
        {
            "side": "right",
            "extent_mm": [8, 5, 3],
            "slices": [4, 4],
            "peak": [20, 40, 4],
            "point_mm": [50.0, 20.0, 12.0],
            "box": {"from": [18, 39, 4], "to": [21, 40, 4]},
            "score": 0.61,
        },
    ],
}
