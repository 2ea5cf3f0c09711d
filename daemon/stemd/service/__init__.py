"""`stemd run`: looks, plans, runs stages, keeps the ledger. Its root is `service.daemon`; only commands import it."""
