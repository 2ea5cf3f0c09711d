"""Whether a job that was delivered is at it once more, from its kept result."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add the column; so far no job is."""
    db.execute_sql("ALTER TABLE job ADD COLUMN again INTEGER NOT NULL DEFAULT 0")
