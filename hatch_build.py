"""Build the page into the package before packing."""
