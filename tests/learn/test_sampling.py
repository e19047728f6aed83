import pytest
import torch

from meninx._learn.input.dataset import CONTEXT, MASKED, SIMULATED, TUMOR_FREE, UNMASKED, Facts
from meninx._learn.input.sampling import weights_of
from meninx._learn.recipe import SamplingRecipe


def head(person, slices, sick=0, sequence="T1", source="lgg"):
    """Return the slices of one scan, the first of them with a tumor."""
    return [
        Facts(MASKED if n < sick else TUMOR_FREE, person=person, sequence=sequence, source=source)
        for n in range(slices)
    ]


def share(facts, weights, **wanted):
    chosen = [all(getattr(fact, name) == value for name, value in wanted.items()) for fact in facts]
    return float(weights[torch.tensor(chosen)].sum())


def test_people_weigh_alike_however_many_slices_they_have():
    facts = [*head("a", 90), *head("b", 10), *head("c", 20, sequence="FLAIR"), *head("c", 5)]
    weights = weights_of(facts, SamplingRecipe(masked=0.0, tumor_free=1.0))
    for person in "abc":
        assert share(facts, weights, person=person) == pytest.approx(1 / 3)
    # And the two sequences of one person.
    assert share(facts, weights, person="c", sequence="FLAIR") == pytest.approx(1 / 6)


def test_strata_have_their_share_and_their_part_of_tumors():
    facts = [
        *head("a", 30, sick=3),
        *head("b", 10, sick=5),
        *head("a", 8, 2, sequence="FLAIR"),
        *head("free", 50, source="other"),
        *[Facts(SIMULATED, source="simulated")] * 7,
        *[Facts(UNMASKED, source="kaggle-x")] * 4,
    ]
    sampling = SamplingRecipe(
        masked=0.0,
        tumor_free=0.2,
        simulated=0.3,
        phantoms=1,
        tumor_share=0.6,
        strata={"lgg T1": 0.2, "lgg FLAIR": 0.1, "kaggle-*": 0.2},
    )
    weights = weights_of(facts, sampling)
    assert float(weights.sum()) == pytest.approx(1)
    assert share(facts, weights, source="lgg", sequence="T1") == pytest.approx(0.2)
    assert share(facts, weights, sequence="T1", kind=MASKED) == pytest.approx(0.12)
    assert share(facts, weights, sequence="T1", kind=MASKED, person="a") == pytest.approx(0.06)
    # A stratum of one kind alone gets all of its share.
    assert share(facts, weights, source="kaggle-x") == pytest.approx(0.2)
    assert share(facts, weights, source="other") == pytest.approx(0.2)
    assert share(facts, weights, kind=SIMULATED) == pytest.approx(0.3)


def test_context_is_never_drawn():
    facts = [Facts(TUMOR_FREE), Facts(CONTEXT), Facts(MASKED)]
    assert weights_of(facts, SamplingRecipe())[1] == 0
