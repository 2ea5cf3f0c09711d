"""stemd: watches inbox folders and brings every recording back as stems."""

__version__ = "0.1.0"
