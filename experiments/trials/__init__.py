"""Trials of what can befall a run, a study or their files: each is a function that returns a verdict."""
