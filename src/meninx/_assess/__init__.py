"""Measure detectors and report findings."""
