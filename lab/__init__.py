"""What makes and measures the detector; not in the wheel."""
