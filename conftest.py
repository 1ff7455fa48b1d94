"""Settings of all tests."""

import os

from hypothesis import HealthCheck, settings

# Examples may share two cores with other tests: a slow one says nothing about the code. On CI the
# same examples are tried every time, so that a red run is about the change and can be repeated;
# everywhere else new ones are, so that what they miss is found sooner or later.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    # The same ones again find nothing new: half of them keeps the suite within its time.
    max_examples=50 if os.environ.get("CI") else 100,
)
settings.load_profile("shared")
