"""The review pages and the JSON API: they read the ledger and write requests; the daemon alone acts."""

from stemd.web.app import make_app
from stemd.web.rules import Rules
from stemd.web.serve import serve
from stemd.web.studio import Studio

__all__ = ["Rules", "Studio", "make_app", "serve"]
