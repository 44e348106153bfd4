"""Django's backend for SQLite, as the simulation uses it."""
