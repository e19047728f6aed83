from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meninx._data.folds import connected, split_at_random, split_into_folds

CASES = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["none", "glioma"])), min_size=6, max_size=60
)


@given(CASES, st.integers(2, 5), st.randoms())
def test_folds_follow_content_and_keep_clusters(cases, folds, random):
    clusters = [cluster for cluster, _ in cases]
    labels = [label for _, label in cases]
    hashes = [f"{index:04d}" for index in range(len(cases))]
    split = split_into_folds(clusters, labels, hashes, folds)
    assert set(split) <= set(range(1, folds + 1))
    for cluster in set(clusters):
        assert len({f for f, c in zip(split, clusters, strict=True) if c == cluster}) == 1
    order = list(range(len(cases)))
    random.shuffle(order)
    again = split_into_folds(
        [clusters[i] for i in order], [labels[i] for i in order], [hashes[i] for i in order], folds
    )
    assert [split[i] for i in order] == list(again)


def test_labels_are_spread_evenly():
    labels = ["none"] * 60 + ["glioma"] * 30 + ["pituitary"] * 10
    split = split_into_folds(range(100), labels, [str(i) for i in range(100)], 5)
    for fold in range(1, 6):
        counts = Counter(np.array(labels)[split == fold])
        assert counts == {"none": 12, "glioma": 6, "pituitary": 2}


def test_another_seed_gives_another_split():
    arguments = (range(40), ["none"] * 40, [str(i) for i in range(40)], 4)
    assert list(split_into_folds(*arguments, seed=1)) != list(split_into_folds(*arguments, seed=2))


def test_keys_connect_through_others():
    assert connected([["a"], ["b"], ["a", "c"], ["c"], ["d"], []]) == [0, 1, 0, 0, 4, 5]
    assert connected([["a"], ["b"], ["b", "a"]]) == [0, 0, 0]


@pytest.mark.parametrize("folds", [2, 5])
def test_random_folds_have_the_same_size(folds):
    assert set(np.bincount(split_at_random(20, folds))[1:]) == {20 // folds}
