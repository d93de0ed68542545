"""Other tools' logs and tables, read as evidence."""
