"""Score files and write their results: the loop, its writers, a study, the worker process."""
