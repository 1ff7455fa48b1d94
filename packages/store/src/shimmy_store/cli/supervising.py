"""Workers at one address: begun anew when they end, replaced one by one, ended together."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Sequence

import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from shimmy_store.server.logs import logger_of

_LOG = logger_of(__name__)
# Ten seconds for requests, three for mail that is just being sent, and some to end in.
_GRACE_SECONDS = 20.0
_LOOK_SECONDS = 0.2
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class _Ending(threading.Event):
    """Also set while a signal to stop waits its turn: a round of replacing takes long."""

    def __init__(self, waiting: Sequence[int]) -> None:
        super().__init__()
        self._waiting = waiting

    def is_set(self) -> bool:
        return super().is_set() or any(one in _STOPPING for one in self._waiting)


class Supervisor(Multiprocess):
    """Uvicorn's, but it lets nobody in any more once it stops, and stops whatever it is at.

    Whoever came while its workers finish would else wait for nobody, and be cut off at the end;
    refused at once, a balancer asks another host.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.should_exit = _Ending(self.signal_queue)
        self._retiring: list[Process] = []

    def terminate_all(self) -> None:
        for one in self.sockets:
            one.close()
        super().terminate_all()

    def join_all(self) -> None:
        """All have the same time to finish, replaced ones too; who has not by then is ended."""
        end = time.monotonic() + _GRACE_SECONDS
        for one in (*self.processes, *self._retiring):
            one.process.join(max(0.0, end - time.monotonic()))
            if one.process.is_alive():
                one.process.kill()
            one.join()

    def restart_all(self) -> None:
        """Each worker makes room once another one answers; a signal to stop ends that at once."""
        for place, old in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            new = Process(self.config, self.sockets)
            new.start()
            if not new.wait_until_ready(self.config.timeout_worker_healthcheck, self.should_exit):
                new.kill()
                new.join()
                if not self.should_exit.is_set():
                    _LOG.info("restart-given-up", kept=old.pid or 0)
                return
            self.processes[place] = new
            self._retire(old)

    def _retire(self, old: Process) -> None:
        self._retiring.append(old)
        old.terminate()
        end = time.monotonic() + _GRACE_SECONDS
        while old.process.is_alive() and not self.should_exit.is_set():
            old.process.join(_LOOK_SECONDS)
            if time.monotonic() > end:
                old.process.kill()
        if not old.process.is_alive():
            self._retiring.remove(old)
