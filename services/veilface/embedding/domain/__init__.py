"""The rules of the embedding service: which images are usable, which faces are wanted, what becomes of them."""
