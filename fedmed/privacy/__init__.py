"""What is promised to patients in numbers, and what keeping it costs. It knows nothing of models or rounds."""
