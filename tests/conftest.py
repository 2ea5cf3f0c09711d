"""For all tests: properties are tried with the same examples on every machine, so that what passed once passes again.

Other examples each time: scripts/test --hypothesis-profile explore. Hypothesis measures no time, which a busy machine
would miss; pytest-timeout ends what hangs.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# Before torch is loaded: its threads do not spin while they wait, for the test beside needs the core.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

EXPLORE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)

settings.register_profile("explore", EXPLORE)
settings.register_profile("stemd", EXPLORE, derandomize=True, database=None)
settings.load_profile("stemd")

# It draws some values from the constants of our modules that happen to be loaded: other examples in another order.
providers.is_local_module_file = lambda path: False
