import json

from lab.evidence.targets import NOT_MEASURED, rows
from lab.evidence.wider_targets import targets

SHARES = {name: {"value": value} for name, value in (("tumor", 0.05), ("refer", 0.25))}


def test_what_no_evidence_holds_is_not_measured(tmp_path):
    heading, *table = rows(targets(tmp_path))
    assert heading[-2:] == ["measured", "reached"]
    assert len(table) > 20
    assert {tuple(row[-2:]) for row in table} == {(NOT_MEASURED, NOT_MEASURED)}


def test_what_is_there_is_filled_in_and_the_rest_is_not(tmp_path):
    alone = {who: {"shares": SHARES | {"no_tumor": {"value": 0.6}}} for who in ("tumor-free",)}
    people = {
        "single slices": {"FLAIR": {"pooled": 0.9704}, "answers": {"by sequence, 95%": alone}}
    }
    (tmp_path / "people.json").write_text(json.dumps(people))
    planes = {
        "people": {"sagittal: tumor": 1, "coronal: no_tumor": 9, "sagittal: too_small": 4},
        "phantoms": {"no_tumor": 40},
    }
    (tmp_path / "other-planes.json").write_text(json.dumps(planes))
    answers = {
        "T1": {"T1": 9, "T1c": 1},
        "T1c": {"T1c": 8, "T1": 2},
        "FLAIR": {"FLAIR": 10},
        "T2": {"FLAIR": 3},
    }
    found = {"sequence": {"volume": {"people held out": {"answers": answers}}}}
    (tmp_path / "recognition.json").write_text(json.dumps(found))
    (tmp_path / "network.json").write_text(json.dumps({"million MACs a slice": 655.97}))
    table = {row[0]: row[-2:] for row in rows(targets(tmp_path))}
    assert table["single slices, pooled, FLAIR"] == ["0.970", "aim"]
    assert table["single slices, pooled, T1"] == [NOT_MEASURED, NOT_MEASURED]
    assert table["single slices at 95 %, tumor-free answered no tumor"] == ["0.600", "must"]
    assert table["single slices at 95 %, tumors referred"] == [NOT_MEASURED, NOT_MEASURED]
    series = "sagittal and coronal series of tumor-free volumes"
    assert table[f"{series}, called"] == ["0.100", "missed"]
    assert table[f"{series}, referred"] == ["0.000", "aim"]
    assert table["healthy phantoms called, of 40"] == ["0.000", "aim"]
    # The T2 of few people does not count.
    assert table["recognized of a volume, people held out, sequence"] == ["0.900", "missed"]
    assert table["operations of the network, beside 937.1 million MACs"] == ["0.700", "aim"]
