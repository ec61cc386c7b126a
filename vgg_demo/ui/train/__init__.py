"""Parts of the Train page: photos, inspection, settings, progress and results."""
