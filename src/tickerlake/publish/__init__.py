"""From a source onto the stream: sets each bar's state against what is already known."""
