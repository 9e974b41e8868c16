"""The tables of both papers (arXiv 2502.18514 and 2503.05850) re-run, beside `ckks-packed` at the same security."""
