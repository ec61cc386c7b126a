"""Weight files: finding, verifying, downloading and reading them."""
