"""The first of each rule's jobs that are not begun are found at once, however many wait."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add the index."""
    db.execute_sql("CREATE INDEX job_newcomer ON job(rule, due) WHERE status = 'waiting' AND stage = 'take'")
