"""The first ledger: what was seen, what became of it, what was made, asked and measured."""

from peewee import SqliteDatabase
from playhouse.migrate import SchemaMigrator

STATEMENTS = (
    """CREATE TABLE job (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rule TEXT NOT NULL, path BLOB NOT NULL, name BLOB NOT NULL,
        size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
        stage TEXT NOT NULL, status TEXT NOT NULL,
        sha256 TEXT NOT NULL DEFAULT '', recipe TEXT NOT NULL DEFAULT '', key TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0, interruptions INTEGER NOT NULL DEFAULT 0,
        due REAL NOT NULL DEFAULT 0,
        code TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
        reasons TEXT NOT NULL DEFAULT '[]', approved INTEGER NOT NULL DEFAULT 0,
        twin INTEGER REFERENCES job(id),
        created REAL NOT NULL, changed REAL NOT NULL)""",
    "CREATE INDEX job_status ON job(status, stage)",
    # One live answer for one content under one rule and recipe; a failed or cancelled job may be tried anew.
    """CREATE UNIQUE INDEX job_content ON job(rule, recipe, sha256)
        WHERE sha256 <> '' AND twin IS NULL AND status NOT IN ('failed', 'cancelled')""",
    """CREATE TABLE arrival (
        rule TEXT NOT NULL, path BLOB NOT NULL,
        size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
        seen REAL NOT NULL, job INTEGER NOT NULL REFERENCES job(id),
        PRIMARY KEY (rule, path)) WITHOUT ROWID""",
    """CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, job INTEGER NOT NULL REFERENCES job(id),
        stage TEXT NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL, code TEXT NOT NULL DEFAULT '')""",
    "CREATE INDEX event_job ON event(job, id)",
    """CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
    """CREATE TABLE artifact (
        job INTEGER NOT NULL REFERENCES job(id), path BLOB NOT NULL,
        sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        PRIMARY KEY (job, path)) WITHOUT ROWID""",
    """CREATE TABLE request (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, who TEXT NOT NULL, verb TEXT NOT NULL, job INTEGER, details TEXT NOT NULL DEFAULT '{}',
        answered REAL, ok INTEGER, answer TEXT NOT NULL DEFAULT '')""",
    "CREATE INDEX request_open ON request(id) WHERE answered IS NULL",
    """CREATE TABLE measurement (
        at REAL NOT NULL, job INTEGER NOT NULL REFERENCES job(id),
        model TEXT NOT NULL, device TEXT NOT NULL, precision TEXT NOT NULL,
        batch INTEGER NOT NULL, segment REAL NOT NULL,
        peak_ram INTEGER NOT NULL, peak_vram INTEGER NOT NULL, seconds_per_audio_second REAL NOT NULL)""",
    "CREATE INDEX measurement_rung ON measurement(model, device, precision, batch, segment)",
    # What the daemon remembers of itself between two lives, such as that it was paused.
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)


def up(_migrator: SchemaMigrator, db: SqliteDatabase) -> None:
    """Create every table."""
    for statement in STATEMENTS:
        db.execute_sql(statement)
