"""The live page and its data."""
