"""What a run shows: a progress bar, a table for each hospital, learning curves and TensorBoard events."""
