"""The commands of `stemd`, one noun a file. Exit codes are decided in cli.py alone."""
