"""What a user may set: typed, checked settings, registries of what they name, and modules of the user's own."""
