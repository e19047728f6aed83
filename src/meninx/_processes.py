"""This process among those that train together, by the variables that torchrun sets."""

import os


def is_one_of_several() -> bool:
    """Return whether this process was started as one of those that train together."""
    return "RANK" in os.environ


def rank() -> int:
    """Return the number of this process among all, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return the number of this process among those of this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def process_count() -> int:
    """Return how many processes train together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_process_count() -> int:
    """Return how many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Return whether this process, of those that train together, is the one that writes."""
    return rank() == 0
