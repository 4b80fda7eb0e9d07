"""What runs at the hospitals and at their server. It needs NumPy, pandas and TensorFlow, and nothing of fedmed."""
