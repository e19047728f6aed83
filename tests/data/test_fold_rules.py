from pathlib import Path

import pytest

from meninx._data.fold_rules import FoldRule, apply_fold_rules, parse_fold_rule
from meninx._data.manifest import Picture
from meninx._errors import OptionError


def picture(number, **more):
    return Picture(
        str(number), Path(f"{number}.png"), None, False, None, str(number), 1, "s", **more
    )


PICTURES = [
    picture(0, person="nichart-01", site="HT", sequence="T1", extra={"note": "a:b=c"}),
    picture(1, person="nichart-11", site="HT", sequence="FLAIR"),
    picture(2, person="nichart-12", site="DU"),
    picture(3),
]


@pytest.mark.parametrize(
    ("texts", "folds"),
    [
        ([], [1, 1, 1, 1]),
        (["site=HT:6"], [6, 6, 1, 1]),
        (["site=HT:6", "person=nichart-1*:7"], [6, 7, 7, 1]),
        (["person=nichart-1*:7", "site=HT:6"], [6, 6, 7, 1]),
        (["sequence=FLAIR:2", "source=s:3"], [3, 3, 3, 3]),
        (["note=a:b=c:12"], [12, 1, 1, 1]),
        # A picture without the column is none with an empty cell.
        (["note=*:4"], [4, 1, 1, 1]),
        (["site=:5"], [1, 1, 1, 5]),
        (["person=nichart-[01]1:2", "site=?U:3"], [2, 2, 3, 1]),
    ],
)
def test_later_rules_win(texts, folds):
    found = apply_fold_rules(PICTURES, [parse_fold_rule(text) for text in texts])
    assert [picture.fold for picture in found] == folds
    assert [picture.id for picture in found] == [picture.id for picture in PICTURES]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("site=ht:6", r"--fold site=ht:6: no picture matches; site: \(empty\), DU, HT"),
        ("note=b:6", "note: a:b=c$"),
        ("hospital=HT:6", "columns: person, site, source, sequence, note"),
        # The fold itself and what must be unique are no columns for rules.
        ("id=0:6", "columns: "),
    ],
)
def test_a_rule_that_matches_nothing_is_an_error(rule, message):
    with pytest.raises(OptionError, match=message):
        apply_fold_rules(PICTURES, [parse_fold_rule(rule)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "site",
        "site=HT",
        "site=HT:",
        "site=HT:0",
        "site=HT:-1",
        "site=HT:x",
        "=HT:1",
        "site:6",
        "site=HT:1.5",
    ],
)
def test_what_is_no_rule(text):
    with pytest.raises(OptionError, match="expected COLUMN=VALUE:N"):
        parse_fold_rule(text)


def test_a_rule_reads_as_it_was_typed():
    rule = parse_fold_rule("site=HT:6")
    assert rule == FoldRule("site", "HT", 6)
    assert str(rule) == "site=HT:6"
