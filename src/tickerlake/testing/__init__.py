"""Contract suites, fakes and fault tools, for our tests and yours."""
