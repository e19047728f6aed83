"""Make the shipped detector, from the collections to its file."""
