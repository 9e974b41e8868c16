"""The three services and a Redis on one machine, as processes, with everything they need in one folder."""
