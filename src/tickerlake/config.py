"""Settings from flags, environment and file, and where each value came from."""
