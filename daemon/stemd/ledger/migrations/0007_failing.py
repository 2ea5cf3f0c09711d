"""Whether only a job's source is still to be put aside before the job is FAILED."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator

STATEMENTS = (
    "ALTER TABLE job ADD COLUMN failing INTEGER NOT NULL DEFAULT 0",
    """UPDATE job SET failing = 1 WHERE stage = 'retire' AND code != '' AND (status = 'failed'
        OR status IN ('waiting', 'running') AND substr(code, 1, instr(code || '-', '-') - 1)
        NOT IN ('archive', 'inbox', 'failed', 'review', 'state'))""",
)


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Add the column; so far a code at RETIRE told it, unless it was of the surroundings: those of RETIRE are named."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
