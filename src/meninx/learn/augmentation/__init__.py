"""Random transforms of training slices, each a class, on the whole batch at once."""
