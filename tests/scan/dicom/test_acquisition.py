import pytest
from pydicom import Dataset

from meninx._scan.dicom.acquisition import acquisition_of


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
