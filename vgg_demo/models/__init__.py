"""Model definitions: registry, class labels, preprocessing, custom models and their bundles."""
