"""Train detectors: the only room that knows torch."""
