"""Exchange sessions: which days trade, when they open and close."""
