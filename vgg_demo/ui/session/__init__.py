"""Per-visitor state, caches shared by all visitors, warm-up, and browser features."""
