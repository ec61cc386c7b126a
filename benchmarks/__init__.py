"""Benchmarks of VGG Demo against the usual alternatives, such as stock Keras."""
