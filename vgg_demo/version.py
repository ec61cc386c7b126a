"""The package version, readable without other imports."""

__version__ = "0.1.0"
