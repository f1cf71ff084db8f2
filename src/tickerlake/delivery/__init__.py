"""Exactly once from the stream into the lake."""
