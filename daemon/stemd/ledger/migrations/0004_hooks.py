"""Commands that are to be run after a delivery, until they have been."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator

STATEMENTS = (
    """CREATE TABLE hook (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job INTEGER NOT NULL REFERENCES job(id), manifest BLOB NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, ended REAL)""",
    "CREATE INDEX hook_open ON hook(id) WHERE ended IS NULL",
)


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Create the table; for what was delivered before, no command is run."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
