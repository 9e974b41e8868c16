"""From the bytes that a caller sent to upright RGB pixels."""
