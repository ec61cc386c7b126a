"""Decoding of image files: bytes in, upright RGB images out, within limits."""
