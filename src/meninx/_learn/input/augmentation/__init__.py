"""Transforms of training slices, a class each, which change a batch at random."""
