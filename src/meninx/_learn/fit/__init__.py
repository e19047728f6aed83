"""Train: losses, one step, all epochs, folds."""
