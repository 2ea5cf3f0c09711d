"""How large each file is that was made, under the name by which other programs look for it."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Rename the column; what stands in it stays."""
    db.execute_sql("ALTER TABLE artifact RENAME COLUMN size TO bytes")
