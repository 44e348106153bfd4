"""The watch that each web process keeps for what no turn can tell: no cluster lives, a disk is full, the database can't
be written to."""
