"""The client's learning rate, and other settings, chosen on validation rows by successive halving over rounds."""
