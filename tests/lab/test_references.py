"""Simulated tumor-free heads count as references only where they can't be told from real ones."""

import numpy as np

from lab.release.references import MIN_COMPARED, WANTED, Scored, allowed, compared
from meninx._detect.findings import Findings


def heads(count, shift=0.0, each=1, seed=0, name="p"):
    rng = np.random.default_rng(seed)
    logits = rng.normal(shift, 1.0, count)
    return [
        Scored(f"{name}{number // each}", Findings("h", "scored", logit=float(logit)))
        for number, logit in enumerate(logits)
    ]


def test_heads_that_score_alike_fill_up_to_what_is_wanted():
    found, table = allowed({"FLAIR": heads(20)}, {"FLAIR": heads(66, each=3, seed=1, name="t")})
    assert table["FLAIR"]["alike"]
    assert len(found["FLAIR"]) == WANTED - 20
    # Each template comes once before any comes again.
    people = [head.person for head in found["FLAIR"]]
    assert len(set(people[:22])) == 22
    assert (table["FLAIR"]["used"], table["FLAIR"]["lacking"]) == (40, 0)
    row = table["FLAIR"]
    assert row["difference of medians"][1] < 0 < row["difference of medians"][2]
    assert row["beyond the border"][1] <= row["expected beyond it"] <= row["beyond the border"][2]


def test_heads_that_score_higher_are_left_out_and_the_lack_is_told():
    found, table = allowed({"T1": heads(40)}, {"T1": heads(60, shift=1.5, seed=1)})
    assert found["T1"] == []
    assert not table["T1"]["alike"]
    assert table["T1"]["lacking"] == 20


def test_few_real_heads_do_not_make_a_large_difference_pass():
    row = compared(heads(MIN_COMPARED, seed=3), heads(60, shift=0.9, seed=4))
    assert not row["alike"]


def test_a_sequence_without_real_heads_takes_them_only_if_they_are_alike_elsewhere():
    real = {"FLAIR": heads(20), "T1c": heads(2)}
    made = {"FLAIR": heads(66, seed=1), "T1c": heads(66, seed=2)}
    found, table = allowed(real, made)
    assert len(found["T1c"]) == WANTED - 2
    assert table["T1c"]["by"] == "others"
    made["FLAIR"] = heads(66, shift=2.0, seed=1)
    found, table = allowed(real, made)
    assert found == {"FLAIR": [], "T1c": []}
    assert table["T1c"]["lacking"] == WANTED - 2
    assert allowed({}, {"T1c": heads(66)})[0] == {"T1c": []}
