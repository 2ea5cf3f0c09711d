"""How often the networks went over the recording, beside what that cost."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add the column. Once is the least there is: what was measured before is taken for dearer than it was."""
    db.execute_sql("ALTER TABLE measurement ADD COLUMN passes REAL NOT NULL DEFAULT 1")
