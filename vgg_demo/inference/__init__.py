"""Inference: engines, the model store, classification, micro-batching and background downloads."""
