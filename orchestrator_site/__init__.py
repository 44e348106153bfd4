"""The site: how the parts are put together, and run."""

__version__ = "1.0.0"  # of the whole product; a release sets it in two deploy files, too: CONTRIBUTING.md
