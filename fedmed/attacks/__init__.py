"""What an attacker can tell of patients: who was trained on, which rows can be rebuilt, whether a promise is kept.

The attacks are computations on what a caller hands in; results are values. Those on membership and the audit's
arithmetic need no TensorFlow.
"""
