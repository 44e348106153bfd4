"""Connects the signals of the apps below."""
