"""Several results of one job: which one it is at, what that is made with, and the others beside it."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator

STATEMENTS = (
    "ALTER TABLE job ADD COLUMN result INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE job ADD COLUMN preset TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE job ADD COLUMN model TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE job ADD COLUMN others TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE artifact ADD COLUMN result INTEGER NOT NULL DEFAULT 1",
)


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add the columns; every job so far has one result, its rule's own."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
