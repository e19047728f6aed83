"""Make one detector file of a trained network: calibration, OOD model, types, formats."""
