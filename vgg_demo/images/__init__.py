"""Image decoding: bytes in, upright RGB images out, within limits."""
