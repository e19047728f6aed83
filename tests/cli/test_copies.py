"""What a user reads of copies of what a detector learned from."""

from dataclasses import replace
from pathlib import Path

import pytest

from meninx._assess.cases import Case, Copies
from meninx._assess.evaluation import evaluate_cases
from meninx._cli.evaluation_table import print_evaluation
from meninx._cli.train import _seen_before
from meninx._data.manifest import Manifest, Picture
from meninx._detect.findings import Findings
from meninx._learn.fit.training import Run


def picture(number, *, tumor=False):
    return Picture(
        str(number), Path("x.png"), None, tumor, None, str(number), 1 + number % 2, "here"
    )


@pytest.fixture(scope="module")
def result():
    cases = []
    for number in range(12):
        tumor = number % 3 > 0
        findings = Findings(
            "s",
            "scored",
            decision="tumor" if tumor else "no_tumor",
            probability=0.2 + 0.06 * number,
            threshold=0.5,
            model={"name": "m", "sha256": "0"},
        )
        facts = {"intensity": {"mean": float(number % 5)}}
        cases.append(Case(picture(number, tumor=tumor), findings, facts))
    return evaluate_cases(cases, [], left_out=29, copies=Copies(41, 29, known=True))


def test_evaluate_says_how_many_were_copies(result, capsys):
    print_evaluation(result, Path("there"))
    said = " ".join(capsys.readouterr().out.split())
    assert "29 of 41 held-out pictures are copies of what this model" in said
    assert "copies: left out." in said


def test_evaluate_gives_no_verdict_where_copies_are_not_known(result, capsys):
    print_evaluation(replace(result, copies=Copies(12, 0, known=False)), Path("there"))
    said = " ".join(capsys.readouterr().out.split())
    assert "No verdict. It is not recorded which slices" in said
    assert "better than the shortcuts" not in said


def test_train_says_what_its_first_weights_had_seen():
    manifest = Manifest(tuple(picture(number) for number in range(9)), "")
    run = Run(Path("run"), Path("run/detector.onnx"), {}, {2: 3}, copies_known=True)
    assert _seen_before(manifest, run).startswith(
        "pictures that its first weights had learned from: 3 of 4 in fold 2;"
    )
    assert _seen_before(manifest, replace(run, copies={})) == ""
    assert "is not known" in _seen_before(manifest, replace(run, copies_known=False))
