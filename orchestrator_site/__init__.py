"""The site: how the parts are put together, and run."""

__version__ = "1.0.0"  # of the whole product; nothing else says it (docs/decisions.md)
