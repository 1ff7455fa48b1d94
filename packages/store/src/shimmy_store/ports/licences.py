"""The licence server, as far as the store works on it."""

from __future__ import annotations

import uuid
from typing import Literal, Protocol

from shimmy_store.domain.convergence import (
    ChangePlan,
    Create,
    Describe,
    IssuedLicence,
    Reinstate,
    ResetPages,
    Suspend,
)


class Licences(Protocol):
    """Every method raises LicensingError; after one, the change may have been made or not."""

    async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
        """The licence of this id."""
        ...

    async def create(self, step: Create) -> Literal["created", "exists"]:
        """Make a licence under the id chosen."""
        ...

    async def change(
        self,
        identifier: uuid.UUID,
        step: ChangePlan | Describe | ResetPages | Suspend | Reinstate,
    ) -> None:
        """Take one step; taking it twice does no harm."""
        ...
