"""The region under a heat map as a DICOM segmentation."""

import copy
from collections.abc import Sequence

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes

from meninx._clinic.result_context import MANUFACTURER, ResultContext, slices_of
from meninx._render.region import region_of
from meninx._render.result import Result
from meninx._scan.dicom.values import number
from meninx._scan.scan import Scan


def segmentation(context: ResultContext, result: Result) -> hd.seg.Segmentation | None:
    """Return a segmentation of the hottest region, labeled as no tumor contour.

    Args:
        context: Source instances and their findings.
        result: Scored scan with its pictures.

    Returns:
        The instance, without empty frames; None if the source has no geometry, or the heat map is
        withheld.

    References:
        DICOM PS3.3 A.51.
    """
    scan, findings = result.scored_scan, context.findings
    if scan.affine is None or context.frame_of_reference is None:
        return None
    if result.heat is None:
        return None
    region = region_of(result.heat)
    frames = slices_of(context.headers, scan)
    stored = region.transpose(2, 1, 0)  # [slice, row, column]
    pixels = np.zeros((len(frames), *stored.shape[1:]), dtype=np.uint8)
    pixels[frames >= 0] = stored[frames[frames >= 0]]
    if not pixels.any():
        return None
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="region of a heat map, no contour",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=findings.model["name"],
            family=codes.DCM.ArtificialIntelligence,
            version=context.version,
            parameters={"SHA-256": findings.model["sha256"]},
        ),
        tracking_uid=context.uid("tracking", "region"),
        tracking_id="region of the heat map",
        anatomic_regions=[codes.SCT.Brain],
    )
    dataset = hd.seg.Segmentation(
        source_images=_with_thickness(context.headers, scan),
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=context.uid("series", "SEG"),
        series_number=context.series_number(2),
        sop_instance_uid=context.uid("SEG"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=findings.model["name"],
        software_versions=context.software,
        device_serial_number=findings.model["sha256"][:16],
        content_label="HEATMAP_REGION",
        content_description="region of a heat map, no contour; not for diagnosis",
        omit_empty_frames=True,
    )
    dataset.SeriesDescription = "meninx heat map's region, not for diagnosis"
    return dataset


def _with_thickness(headers: Sequence[Dataset], scan: Scan) -> list[Dataset]:
    """Return headers with a SliceThickness, which highdicom requires: the slice gap if missing."""
    complete = []
    for header in headers:
        if "ImagePositionPatient" in header and number(header, "SliceThickness") is None:
            header = copy.copy(header)
            header.SliceThickness = round(scan.spacing_mm[2], 6) if scan.spacing_mm else None
        complete.append(header)
    return complete
