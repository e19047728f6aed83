"""The hot regions of a heat map as a DICOM segmentation."""

import copy
from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from meninx._clinic.result_context import MANUFACTURER, ResultContext, region_name, slices_of
from meninx._render.region import islands_of, suspected_regions
from meninx._render.result import Result
from meninx._scan.dicom.values import number
from meninx._scan.scan import Scan


def segmentation(context: ResultContext, result: Result) -> hd.seg.Segmentation | None:
    """Return a segmentation of the hot regions, a segment each, labeled as no tumor contours.

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
    frames = slices_of(context.headers, scan)
    places = list(suspected_regions(findings, result.regions))
    stored = _numbered(result.heat, places).transpose(2, 1, 0)  # [slice, row, column]
    pixels = np.zeros((len(frames), *stored.shape[1:]), dtype=np.uint16)
    pixels[frames >= 0] = stored[frames[frames >= 0]]
    if not pixels.any():
        return None
    dataset = hd.seg.Segmentation(
        source_images=_with_thickness(context.headers, scan),
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _described(context, segment, place) for segment, place in enumerate(places, 1)
        ],
        series_instance_uid=context.uid("series", "SEG"),
        series_number=context.series_number(2),
        sop_instance_uid=context.uid("SEG"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=findings.model["name"],
        software_versions=context.software,
        device_serial_number=findings.model["sha256"][:16],
        content_label="HEATMAP_REGION",
        content_description="regions of a heat map, no contours; not for diagnosis",
        omit_empty_frames=True,
    )
    dataset.SeriesDescription = "meninx heat map's regions, not for diagnosis"
    return dataset


def _numbered(heat: NDArray[np.uint8], places: Sequence[int]) -> NDArray[np.uint16]:
    """Return the segment of each voxel, from 1 in the order of the regions' places; 0 for none."""
    segments = np.zeros(heat.shape, dtype=np.uint16)
    for place, island in enumerate(islands_of(heat), 1):
        if place in places:
            segments[tuple(island.voxels.T)] = 1 + places.index(place)
    return segments


def _described(context: ResultContext, segment: int, place: int) -> hd.seg.SegmentDescription:
    """Return the description of a region's segment, tracked as its group of the report is."""
    model = context.findings.model
    return hd.seg.SegmentDescription(
        segment_number=segment,
        segment_label=f"region {place} of a heat map, no contour",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=model["name"],
            family=codes.DCM.ArtificialIntelligence,
            version=context.version,
            parameters={"SHA-256": model["sha256"]},
        ),
        tracking_uid=context.uid("tracking", region_name(place)),
        tracking_id=region_name(place),
        anatomic_regions=[codes.SCT.Brain],
    )


def _with_thickness(headers: Sequence[Dataset], scan: Scan) -> list[Dataset]:
    """Return headers with a SliceThickness, which highdicom requires: the slice gap if missing."""
    complete = []
    for header in headers:
        if "ImagePositionPatient" in header and number(header, "SliceThickness") is None:
            header = copy.copy(header)
            header.SliceThickness = round(scan.spacing_mm[2], 6) if scan.spacing_mm else None
        complete.append(header)
    return complete
