"""The contenders of `experiments/round_speed.py`, each in a process of its own."""
