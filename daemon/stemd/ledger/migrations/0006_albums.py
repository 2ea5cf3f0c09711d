"""An album's tracks are found by their age, which they share: also among a hundred thousand jobs."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add the index."""
    db.execute_sql("CREATE INDEX job_created ON job(created)")
