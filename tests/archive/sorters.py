"""Let a small run group its folders as a large one does; called in the process of Ray."""

from meninx._archive import cluster


def score_units(options, done, split, channel, scratch):
    """Score, with a grouping process for each scorer."""
    cluster.SCORERS_PER_GROUPER = 1
    cluster.score_units(options, done, split, channel)
