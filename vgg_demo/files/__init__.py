"""Photos, archives and tables on disk: reading, writing and sorting."""
