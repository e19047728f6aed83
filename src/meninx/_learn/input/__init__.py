"""Read, sample, simulate and augment training slices."""
