"""The recognition models, detectors and alignments behind the pipelines: DeepFace, and dlib's own."""
