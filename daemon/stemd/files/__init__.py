"""Files on disk: what is in them, how they get there durably, and what they are called."""

from stemd.files.disk import copy_hashing, digest, drop_tree, free_bytes, open_regular, sync_file, sync_folder, verify
from stemd.files.facts import read_fact, read_json, write_fact, write_json
from stemd.files.faults import fault_of, faults_in
from stemd.files.rename import rename_noreplace

__all__ = [
    "copy_hashing",
    "digest",
    "drop_tree",
    "fault_of",
    "faults_in",
    "free_bytes",
    "open_regular",
    "read_fact",
    "read_json",
    "rename_noreplace",
    "sync_file",
    "sync_folder",
    "verify",
    "write_fact",
    "write_json",
]
