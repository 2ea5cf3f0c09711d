"""Decoding and encoding, in a child process of their own: `python -m stemd.codec`. The daemon imports `ask` only.

ffmpeg reads and writes the formats; numpy measures what passes between. A process for each file, so that whatever a
stranger's file does to it ends with it.
"""
