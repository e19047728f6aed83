"""What a detector file says of itself survives writing and reading."""

import dataclasses
import json

import pytest

from meninx.detect.calibration import Calibration, Calibrator, StudyCalibrator
from meninx.detect.model_card import FORMAT, KEY, ModelCard
from meninx.detect.preprocessing import Preprocessing
from meninx.errors import ModelError

SCALE = Calibrator(1.5, 0.4, 0.3, 0.6, (-1.0, 2.0), (-3.0, 0.5), 9, 1)
PLAIN = ModelCard("plain", Preprocessing(), Calibration(SCALE, Calibrator(2.0)), ("glioma",), "abc")
WHOLE = dataclasses.replace(
    PLAIN,
    calibration=Calibration(
        SCALE,
        Calibrator(2.0),
        {"T1": Calibrator(3.0), "FLAIR": SCALE},
        StudyCalibrator({"T1": 0.25, "FLAIR": 0.75, "unknown": 0.25}, SCALE),
    ),
)


@pytest.mark.parametrize("card", [PLAIN, WHOLE])
def test_a_card_reads_back_what_it_wrote(card):
    assert ModelCard.from_metadata(card.to_metadata()) == card


@pytest.mark.parametrize("number", [1, 3, FORMAT + 1])
def test_another_format_is_named_and_what_to_do(number):
    values = json.loads(WHOLE.to_metadata()[KEY]) | {"format": number}
    with pytest.raises(ModelError, match=f"has format {number}, this version reads {FORMAT}"):
        ModelCard.from_metadata({KEY: json.dumps(values)})


def test_a_calibration_that_lacks_a_part_is_no_detector():
    values = json.loads(WHOLE.to_metadata()[KEY])
    del values["calibration"]["volume"]
    with pytest.raises(ModelError, match="no meninx detector"):
        ModelCard.from_metadata({KEY: json.dumps(values)})
