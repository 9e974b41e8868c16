"""veilface: face recognition on encrypted templates."""

__version__ = "0.1.0"
