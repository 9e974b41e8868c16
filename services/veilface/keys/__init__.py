"""The key service: a vault of secret keys that answers "match" or "no match" and hands out nothing else."""
