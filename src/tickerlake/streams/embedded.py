"""The embedded log: SQLite in WAL mode, one row per published batch."""
