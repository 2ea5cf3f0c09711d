"""The parts of scripts/bench: networks and songs, the two contestants, the cases, the table."""
