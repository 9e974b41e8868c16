"""Between the messages of veilface.keys.v1 and the domain: pairs of functions, and nothing else."""
