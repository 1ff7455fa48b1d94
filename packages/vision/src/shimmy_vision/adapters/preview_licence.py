"""The licence evidence of builds made before licences are sold."""

from __future__ import annotations

from shimmy_vision.domain.access import LicenceEvidence


class PreviewLicence:
    """The ``Licences`` port of a preview build: every machine, no end date, said in each result."""

    def evidence(self) -> LicenceEvidence:
        return LicenceEvidence(edition="preview", expires=None)
