"""Operators sign in: throttled, logged, with a second factor where there is one, and for so many hours."""
