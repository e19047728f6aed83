"""Write the region under a heat map as a DICOM segmentation."""

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes

from meninx.clinic.origin import MANUFACTURER, Origin, slices_of
from meninx.render.bundle import Bundle
from meninx.render.region import region_of


def segmentation(origin: Origin, bundle: Bundle) -> hd.seg.Segmentation | None:
    """Return the region under the heat map of a scan; it is no contour of a tumor, and says so.

    Args:
        origin: The instances and what was found in them.
        bundle: Of the scan that was scored.

    Returns:
        The instance, with the frames that show something; None where the source has no geometry, or
        the heat map may not be shown.

    References:
        DICOM PS3.3 A.51.
    """
    scan, findings = bundle.scan, origin.findings
    if scan.affine is None or origin.frame_of_reference is None:
        return None
    heat = bundle.heat()
    if heat is None:
        return None
    region = region_of(heat)
    frames = slices_of(origin.headers, scan)
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
            version=origin.version,
            parameters={"SHA-256": findings.model["sha256"]},
        ),
        tracking_uid=origin.uid("tracking", "region"),
        tracking_id="region of the heat map",
        anatomic_regions=[codes.SCT.Brain],
    )
    made = hd.seg.Segmentation(
        source_images=list(origin.headers),
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=origin.uid("series", "SEG"),
        series_number=origin.series_number(2),
        sop_instance_uid=origin.uid("SEG"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=findings.model["name"],
        software_versions=origin.software,
        device_serial_number=findings.model["sha256"][:16],
        content_label="HEATMAP_REGION",
        content_description="region of a heat map, no contour; not for diagnosis",
        omit_empty_frames=True,
    )
    made.SeriesDescription = "meninx heat map's region, not for diagnosis"
    return made
