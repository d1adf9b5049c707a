"""Contract kits and recorded examples, shipped for extensions and for this package's tests."""
