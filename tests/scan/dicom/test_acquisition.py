from io import BytesIO

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from meninx._scan.dicom.acquisition import acquisition_of, enhanced_acquisition
from meninx._scan.dicom.character_set import mend_character_set
from meninx._scan.dicom.values import FunctionalGroups
from meninx._scan.sequence import other_contrast, sequence_of


def code(**values: str | int) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


@pytest.mark.parametrize(
    ("agent", "codes", "given"),
    [
        (None, None, False),
        ("NONE", None, False),
        ("Gadobutrol", None, True),
        ("", [], False),
        ("", [code(CodeValue="0", CodeMeaning="None")], False),
        ("", [code(CodeValue="C-B03CA", CodeMeaning="Gadolinium")], True),
        (None, [code(ContrastBolusAgentNumber=1)], True),
    ],
)
def test_an_agent_is_given_as_text_or_by_a_code(agent, codes, given):
    dataset = Dataset()
    if agent is not None:
        dataset.ContrastBolusAgent = agent
    if codes is not None:
        dataset.ContrastBolusAgentSequence = codes
    assert acquisition_of(dataset).contrast_agent == given


@pytest.mark.parametrize("description", ["T1 prä KM", "T1 pré-contraste"])
def test_native_t1_is_told_without_a_character_set(description):
    item = code(RepetitionTime="500", EchoTime="10")
    raw = BytesIO()
    item.add_new("SeriesDescription", "LO", description)
    item.SpecificCharacterSet = "ISO_IR 100"
    dcmwrite(raw, item, implicit_vr=False, little_endian=True, enforce_file_format=False)
    data = raw.getvalue().replace(b"ISO_IR 100", b"ISO_IR 6  ")
    header = dcmread(BytesIO(data), force=True)
    mend_character_set(header)
    assert not acquisition_of(header).text.isascii()
    assert sequence_of(acquisition_of(header)) == "T1"


def enhanced(times: tuple[float, float, float | None], contrast: str, **values: str) -> Dataset:
    """Return an item of functional groups, and the dataset it belongs to."""
    tr, te, ti = times
    inversion = {} if ti is None else {"InversionRecovery": "YES", "InversionTimes": [ti]}
    group = Dataset()
    group.MRTimingAndRelatedParametersSequence = [code(RepetitionTime=tr)]
    group.MREchoSequence = [code(EffectiveEchoTime=te)]
    group.MRModifierSequence = [code(**inversion)]
    dataset = code(AcquisitionContrast=contrast, **values)
    dataset.SharedFunctionalGroupsSequence = [group]
    return dataset


@pytest.mark.parametrize(
    ("sequence", "dataset"),
    [
        ("FLAIR", enhanced((8900, 104, None), "FLUID_ATTENUATED", EchoPulseSequence="SPIN")),
        ("FLAIR", enhanced((8900, 104, 2450), "FLUID_ATTENUATED")),
        ("T2", enhanced((4200, 96, None), "T2", EchoPulseSequence="SPIN")),
        ("T1", enhanced((2300, 2.9, 900), "T1", EchoPulseSequence="GRADIENT")),
        ("T1", enhanced((4900, 2.9, None), "T1", EchoPulseSequence="GRADIENT")),
        ("unknown", enhanced((640, 21, None), "T2_STAR", EchoPulseSequence="GRADIENT")),
        ("unknown", enhanced((640, 21, None), "UNKNOWN", EchoPulseSequence="GRADIENT")),
        ("unknown", enhanced((4600, 70, 155), "STIR")),
        ("unknown", enhanced((21, 3.4, None), "TOF", EchoPulseSequence="GRADIENT")),
        ("unknown", enhanced((2000, 30, None), "T1", EchoPlanarPulseSequence="YES")),
    ],
)
def test_the_sequence_of_a_frame_of_an_enhanced_file(sequence, dataset):
    groups = FunctionalGroups(Dataset(), dataset.SharedFunctionalGroupsSequence[0])
    acquisition = enhanced_acquisition(dataset, groups)
    assert sequence_of(acquisition) == sequence
    assert bool(other_contrast(acquisition)) == (sequence == "unknown")


@pytest.mark.parametrize(
    ("sequence", "dataset"),
    [
        ("unknown", code(AngioFlag="Y", SeriesDescription="Ax 3D SPGR COW", EchoTime=3)),
        ("unknown", code(AngioFlag="Y", SeriesDescription="T1_fl3d_ce_cor", EchoTime=1.2)),
        ("unknown", code(ProtocolName="3D_TOF", EchoTime=6.9)),
        ("T1c", code(ProtocolName="3D TFE GD", EchoTime=3.8)),
    ],
)
def test_angio_flag_and_protocol_count_against_times_of_t1(sequence, dataset):
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]
    dataset.ScanningSequence, dataset.RepetitionTime = "GR", 23
    acquisition = acquisition_of(dataset)
    assert sequence_of(acquisition) == sequence
    assert bool(other_contrast(acquisition)) == (sequence == "unknown")
