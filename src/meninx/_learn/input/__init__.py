"""What a network learns from: slices, sampling, augmentation, simulated heads."""
