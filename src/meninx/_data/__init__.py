"""Describe training data: which pictures, what they show, how they are split."""
