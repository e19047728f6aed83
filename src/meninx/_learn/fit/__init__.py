"""Train: losses, a step, epochs, folds."""
