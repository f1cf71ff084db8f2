"""A source that remembers: wraps a Source and is a Source."""
