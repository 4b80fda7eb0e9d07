"""A run: one experiment, and the directory that it leaves."""
