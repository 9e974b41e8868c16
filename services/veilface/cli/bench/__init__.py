"""`veilface bench`: every number beside its peer, measured in the same run on throwaway keys."""
