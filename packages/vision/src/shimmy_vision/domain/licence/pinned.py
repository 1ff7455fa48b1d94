"""The licensor of this build.

These are the sandbox's, whose private key is public: a build made from a checkout accepts
simulated licences and says SANDBOX wherever it speaks. A release is built with
``SHIMMY_LICENSOR=file.json``, and ``hatch_build.py`` puts that licensor in this file's place.
"""

from __future__ import annotations

from shimmy_vision.domain.licence.licensor import Licensor

PINNED = Licensor(
    mode="sandbox",
    account="56e72fd8-1f0a-5437-bf22-1cebce5340eb",
    product="06afcbe1-c09e-54ec-95cc-52f980e8a3ee",
    public_key="352d6742469a0b647ae083e11658a7f6ccf65b5c301573f91f156a871f782627",
    api_url="http://127.0.0.1:7410",
    pricing_url="http://127.0.0.1:7400/pricing",
    portal_url="http://127.0.0.1:7400/view-license",
)
