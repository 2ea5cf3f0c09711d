"""The parts of scripts/install. Only the standard library: nothing is installed yet."""
