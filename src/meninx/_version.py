"""The version of meninx."""

__version__ = "0.1.0"
