"""For all tests: Hypothesis measures no time, which on a busy machine says nothing; pytest-timeout ends what hangs."""

from hypothesis import HealthCheck, settings

settings.register_profile("stemd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("stemd")
