"""Let a small run sort its folders as a large one does; called in the process that runs Ray."""

from meninx._archive import cluster


def feed(options, done, channel, scratch):
    """Score, with a process that sorts for each that scores."""
    cluster.SCORERS_A_SORTER = 1
    cluster.feed(options, done, channel)
