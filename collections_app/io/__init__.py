"""Records in and out of files: CSV, JSON and Excel."""
