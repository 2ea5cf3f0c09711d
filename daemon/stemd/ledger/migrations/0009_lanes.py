"""How much of a separation's peak the buffers of its lanes held."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add the column. Of what was measured before nothing is taken off: rather too much is promised than too little."""
    db.execute_sql("ALTER TABLE measurement ADD COLUMN lanes INTEGER NOT NULL DEFAULT 0")
