"""The ledger: every job, every line of its story. This package is the only user of peewee."""

from stemd.ledger.store import Ledger, LedgerFull, Lock, locked, open_for_asking, open_for_writing

__all__ = ["Ledger", "LedgerFull", "Lock", "locked", "open_for_asking", "open_for_writing"]
