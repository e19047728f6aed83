"""The card of a detector file survives writing and reading."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from meninx._detect.calibration import Calibration, StudyCalibrator
from meninx._detect.calibrator import Calibrator
from meninx._detect.loading import load_detector
from meninx._detect.model_card import (
    DESCRIPTOR_BYTES,
    FORMAT,
    KEY,
    MAX_DESCRIPTORS,
    ModelCard,
    SeenSlices,
    shipped_measured,
)
from meninx._detect.preprocessing import Preprocessing
from meninx._errors import ModelError

SCALE = Calibrator(1.5, -0.2, 0.9, 0.4, -0.3, 0.6, (-1.0, 2.0), (-3.0, 0.5), 1, 9, 1)
PLAIN = ModelCard("plain", Preprocessing(), Calibration(SCALE, Calibrator(2.0)), ("glioma",), "abc")
WHOLE = dataclasses.replace(
    PLAIN,
    calibration=Calibration(
        SCALE,
        Calibrator(2.0),
        {"T1": Calibrator(3.0), "FLAIR": SCALE},
        StudyCalibrator({"T1": 0.25, "FLAIR": 0.75, "unknown": 0.25}, SCALE),
    ),
    seen=("0123456789abcdef",),
    seen_slices=SeenSlices(bytes(range(192, 256)), complete=True),
)


@pytest.mark.parametrize("card", [PLAIN, WHOLE])
def test_a_card_reads_back_what_it_wrote(card):
    assert ModelCard.from_metadata(card.to_metadata()) == card


def test_a_viewer_shows_the_main_facts_a_line_each():
    facts = dataclasses.replace(WHOLE, license="CC BY-NC-SA 4.0").to_metadata()
    assert next(iter(facts)) == KEY
    assert facts["name"] == "plain"
    assert facts["license"] == "CC BY-NC-SA 4.0"
    assert "not for diagnosis" in facts["use"]
    assert facts["types"] == "glioma"
    assert facts["files learned from"] == "1"
    assert all("\n" not in value for value in facts.values())


@pytest.mark.parametrize("number", [1, 3, 4, FORMAT + 1])
def test_another_format_is_reported_with_advice(number):
    values = json.loads(WHOLE.to_metadata()[KEY]) | {"format": number}
    with pytest.raises(ModelError, match=f"has format {number}, this version reads {FORMAT}"):
        ModelCard.from_metadata({KEY: json.dumps(values)})


def test_a_calibration_that_lacks_a_part_is_no_detector():
    values = json.loads(WHOLE.to_metadata()[KEY])
    del values["calibration"]["volume"]
    with pytest.raises(ModelError, match="no meninx detector"):
        ModelCard.from_metadata({KEY: json.dumps(values)})


def test_calibrators_of_pictures_by_sequence_come_back_and_may_be_missing():
    own = Calibrator(2.0, tumor_logits=(1.0,), tumor_free_logits=(0.0,))
    calibration = dataclasses.replace(WHOLE.calibration, picture_by_sequence={"FLAIR": own})
    card = dataclasses.replace(WHOLE, calibration=calibration)
    assert ModelCard.from_metadata(card.to_metadata()).calibration == calibration
    values = json.loads(WHOLE.to_metadata()[KEY])
    del values["calibration"]["picture_by_sequence"]
    old = ModelCard.from_metadata({KEY: json.dumps(values)}).calibration
    assert old == WHOLE.calibration
    assert old.of(volume=False, sequence="FLAIR") == old.picture


def test_names_of_earlier_formats_are_unknown():
    values = json.loads(WHOLE.to_metadata()[KEY])
    held_out = values["calibration"]["picture"]
    held_out["healthy"] = held_out.pop("tumor_free_logits")
    with pytest.raises(ModelError, match="no meninx detector"):
        ModelCard.from_metadata({KEY: json.dumps(values)})


def test_a_record_of_slices_fits_into_a_megabyte_and_is_whole():
    full = SeenSlices(np.random.default_rng(3).bytes(MAX_DESCRIPTORS * DESCRIPTOR_BYTES), True)
    text = json.dumps(full.as_json())
    assert len(full) == MAX_DESCRIPTORS
    assert len(text) < 1.001e6
    assert SeenSlices.from_json(json.loads(text)) == full
    with pytest.raises(ValueError, match="31 bytes of descriptors, expected 32 per slice"):
        SeenSlices.from_json(SeenSlices(bytes(31), True).as_json())


def test_the_text_about_the_shipped_weights_has_the_numbers_of_the_card():
    study = load_detector().card.calibration.study.calibrator
    assert shipped_measured().startswith(f"Measured on {len(study.tumor_logits)} people with")
    assert f"and {len(study.tumor_free_logits)} tumor-free people" in shipped_measured()


def test_the_shipped_card_has_the_numbers_of_borrowed_references():
    calibration = load_detector().card.calibration
    assert {name: calibrator.borrowed for name, calibrator in calibration.by_sequence.items()} == {
        "FLAIR": 0,
        "T1": 0,
        "T1c": len(calibration.by_sequence["T1c"].tumor_free_logits),
    }
    assert calibration.volume.borrowed == calibration.by_sequence["T1c"].borrowed
    assert calibration.picture.borrowed == 0


def test_descriptors_are_decoded_as_by_the_standard_library():
    stored = np.random.default_rng(4).bytes(32 * 50)
    text = base64.b85encode(stored).decode("ascii")
    assert SeenSlices.from_json({"complete": True, "descriptors": text}).descriptors == stored
    assert SeenSlices.from_json({"complete": True, "descriptors": ""}).descriptors == b""
    # No digit, beyond 32 bits, no ASCII, and cut within a word.
    for wrong in (f"{text[:-1]} ", f"{text[:-5]}~~~~~", f"{text[:-1]}\u00e9", f'{text[:-1]}"'):
        with pytest.raises(ValueError, match=r"b85|base85|ascii|ASCII"):
            SeenSlices.from_json({"complete": True, "descriptors": wrong})
