"""Make a detector file from a trained network: calibration, OOD model, number formats."""
