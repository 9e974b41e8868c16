"""Faces in an image: where they are, how good they are, which of them are wanted."""
