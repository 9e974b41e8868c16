"""Tests and what they share. A package, because lightphe installs another one of the same name."""
