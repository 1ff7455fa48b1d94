"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# Examples may share two cores with other tests: a slow one says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
