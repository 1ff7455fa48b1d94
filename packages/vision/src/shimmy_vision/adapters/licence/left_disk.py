"""A licence state in memory, because the disk took no more, on its way back to the disk."""

from __future__ import annotations

import time

from shimmy_vision.adapters.licence.licence_tables import SqliteLicenceSession

_AGAIN_SECONDS = 60.0


class LeftDisk:
    """Since the disk was left: what each licence had counted then, and when to look again."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.again = time.monotonic() + _AGAIN_SECONDS

    def is_due(self) -> bool:
        """Once a minute."""
        now = time.monotonic()
        if now < self.again:
            return False
        self.again = now + _AGAIN_SECONDS
        return True

    def carry_over(self, memory: SqliteLicenceSession, disk: SqliteLicenceSession) -> None:
        """Everything that ``memory`` knows of a licence and ``disk`` does not."""
        theirs, ours = memory.record, disk.record
        gained = theirs.total - self.totals.get(theirs.name, theirs.total)
        pages, counted = memory.everything()
        for one, reserved in pages:
            if reserved:
                disk.reserve(one)
            else:
                disk.commit(one)
        disk.know_counted(counted)
        # Among them those that were reported already, or that nobody bills.
        disk.update(total=ours.total + gained)
        seen = [one for one in (theirs.latest_seen, ours.latest_seen) if one is not None]
        if seen:
            disk.update(latest_seen=max(seen))
        if theirs.tried is not None and (ours.tried is None or theirs.tried > ours.tried):
            disk.update(
                certificate=theirs.certificate,
                denial=theirs.denial,
                tried=theirs.tried,
                trouble=theirs.trouble,
                counted=theirs.counted,
                sync_failed=theirs.sync_failed,
            )
