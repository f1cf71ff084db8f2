"""Real brokers, stores and catalogs for tests: child processes on loopback, without containers.

`make services` installs what they run. Each is a class with `start`, `stop`, `kill9`, `restart`,
`pause` and `resume`, and none outlives the process that started it.
"""
