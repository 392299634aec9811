"""Raises while it is imported, in two lines."""

print("acme_raises was here")
raise RuntimeError("no licence\nfound in this test")
