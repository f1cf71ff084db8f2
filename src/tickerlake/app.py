"""The one place that chooses backends from URLs."""
