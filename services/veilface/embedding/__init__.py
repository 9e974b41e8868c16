"""The embedding service: photographs in, encrypted templates out. The only place that sees a face."""
