"""The measurements behind docs/."""
