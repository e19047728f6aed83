"""Simulate heads with known tumors, for examples, tests and training."""
