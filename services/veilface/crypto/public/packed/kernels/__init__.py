"""Numba kernels over contiguous residues. Types are numba's, so mypy does not check inside."""
