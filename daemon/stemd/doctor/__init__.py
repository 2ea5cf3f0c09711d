"""Whether this machine is fit for stemd: what is there, what is missing, and what to do about it. Repairs nothing."""

from stemd.doctor.examine import examine
from stemd.doctor.finding import Finding, Level, verdict

__all__ = ["Finding", "Level", "examine", "verdict"]
