"""Make DICOM files for tests: the same slices in every encoding, classic and enhanced."""

import io
import tempfile
from functools import partial
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from meninx._scan.scan import Scan
from meninx._synthesis.writing import dicom_slice

ENCODERS = {JPEGLSLossless: "pyjpegls", RLELossless: "pydicom"}
CODESTREAMS = {
    HTJ2KLossless: imagecodecs.htj2k_encode,
    JPEG2000Lossless: partial(imagecodecs.jpeg2k_encode, codecformat="j2k", reversible=True),
}


def slices_of(scan: Scan, seed: int = 1) -> list[FileDataset]:
    return [dicom_slice(scan, index, seed) for index in range(scan.voxels.shape[2])]


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def save_all(datasets: list[FileDataset], folder: Path) -> Path:
    for number, dataset in enumerate(datasets):
        save(dataset, folder / f"{number:03}.dcm")
    return folder


def encoded(dataset: FileDataset, syntax: str) -> FileDataset:
    """Return the slice in a compressed transfer syntax."""
    if syntax in CODESTREAMS:
        frame = CODESTREAMS[syntax](dataset.pixel_array)
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax
        return dataset
    if syntax == JPEGLosslessSV1:
        return with_gdcm(dataset)
    dataset.compress(syntax, encoding_plugin=ENCODERS[syntax], generate_instance_uid=False)
    return dataset


def with_gdcm(dataset: FileDataset) -> FileDataset:
    """Return the slice as JPEG lossless, which only gdcm writes."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.dcm", Path(folder) / "after.dcm"
        before.write_bytes(buffer.getvalue())
        transcode(before, after)
        return pydicom.dcmread(io.BytesIO(after.read_bytes()))


def transcode(before: Path, after: Path) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(before))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(after))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def enhanced(scan: Scan, order: list[int] | None = None) -> FileDataset:
    """Return a volume as one enhanced MR file with frames in any order."""
    template = dicom_slice(scan, 0, 1)
    order = order or list(range(scan.voxels.shape[2]))
    template.SOPClassUID = pydicom.uid.EnhancedMRImageStorage
    template.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedMRImageStorage
    shared, frames = Dataset(), []
    for index in order:
        instance = dicom_slice(scan, index, 1)
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = instance.ImagePositionPatient
        frame.FrameContentSequence = [Dataset()]
        frame.FrameContentSequence[0].StackID = "1"
        frames.append(frame)
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = template.ImageOrientationPatient
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = template.PixelSpacing
    shared.PixelMeasuresSequence[0].SliceThickness = template.SliceThickness
    shared.MREchoSequence = [Dataset()]
    shared.MREchoSequence[0].EffectiveEchoTime = float(template.EchoTime)
    shared.MRTimingAndRelatedParametersSequence = [Dataset()]
    shared.MRTimingAndRelatedParametersSequence[0].RepetitionTime = template.RepetitionTime
    shared.PixelValueTransformationSequence = [Dataset()]
    shared.PixelValueTransformationSequence[0].RescaleSlope = "1"
    shared.PixelValueTransformationSequence[0].RescaleIntercept = "0"
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EchoTime"):
        delattr(template, name)
    template.SharedFunctionalGroupsSequence = [shared]
    template.PerFrameFunctionalGroupsSequence = frames
    template.NumberOfFrames = len(frames)
    stored = scan.voxels.transpose(2, 1, 0)[order].astype(np.uint16)
    template.PixelData = np.ascontiguousarray(stored).tobytes()
    return template
