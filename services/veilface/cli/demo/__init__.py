"""The demo: photographs in, decisions out, and a look at what each service saw on the way."""
