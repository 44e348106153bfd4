"""The command `arcade`."""
