"""The stages of a job. Each is `run(work) -> Outcome`; none knows another, none knows the ledger."""
