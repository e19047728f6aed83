"""Make synthetic heads with known truth, so that examples and tests need nobody's scan."""
