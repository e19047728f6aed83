"""Augmentation: random transforms of training slices, each a class that works on a batch."""
