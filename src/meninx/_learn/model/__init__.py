"""Networks, and what is done to a trained one: compression, attribution."""
