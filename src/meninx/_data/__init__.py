"""Prepare training data: labels, masks, persons, duplicates, folds, the manifest."""
