"""Retention experiments whose message and on-site experience match, and what they caused."""

__version__ = "0.1.0"
