"""`python -m stemd` is the command `stemd`."""

from stemd.cli import main

main()
