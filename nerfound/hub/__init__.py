"""What leaves the house: recognizers and foundations in the formats of others, and on the Hub."""

from .export import export_native

__all__ = ["export_native"]
