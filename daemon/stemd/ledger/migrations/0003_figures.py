"""How long each recording is, and what each quality check found: what reports and metrics are made of."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator

STATEMENTS = (
    "ALTER TABLE job ADD COLUMN seconds REAL NOT NULL DEFAULT 0",
    """CREATE TABLE hearing (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, job INTEGER NOT NULL REFERENCES job(id), result INTEGER NOT NULL,
        score REAL, bleed_db REAL, flags INTEGER NOT NULL)""",
)


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add them; of earlier jobs nothing is known."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
