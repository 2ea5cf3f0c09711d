"""What scripts/bench-quality is made of: labelled cases, their figures, and the table."""
