"""Formats for the dates that Django writes itself, by language."""
