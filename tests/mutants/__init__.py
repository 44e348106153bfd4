"""Mistakes that the suite has to notice: each is made in a copy of the tree, alone, and the tests named must fail."""
