"""What stands before an engine process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

from shimmy_vision.adapters.glibc_heaps import share_heaps
from shimmy_vision.adapters.web.guarded_web import guarded_web
from shimmy_vision.adapters.worker.engine_process import EngineProcess
from shimmy_vision.adapters.worker.worker_command import worker_command
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.serving import HasFamily, Serving
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import Settings, child_environment, runs_elsewhere
from shimmy_vision.use_cases.check_ready import check_ready
from shimmy_vision.use_cases.list_served import list_served
from shimmy_vision.wiring.engines import locate_files
from shimmy_vision.wiring.fleet import find_served
from shimmy_vision.wiring.licences import open_licensing


@contextmanager
def open_analyst(settings: Settings, order: VisionOrder, jobs: int) -> Iterator[EngineProcess]:
    """An analyst whose ``jobs`` at once are done in a process of their own."""
    environment = child_environment(settings, order.licence)
    with closing(EngineProcess(worker_command(order), environment, jobs=jobs)) as opened:
        yield opened


@contextmanager
def open_serving(settings: Settings, order: VisionOrder, jobs: int) -> Iterator[Serving]:
    """Everything that ``shimmy serve`` works with."""
    share_heaps()
    given = order.licence
    with open_licensing(settings, given) as licences, open_analyst(settings, order, jobs) as opened:
        # Quick: digests of files that have not changed are kept.
        locate: Callable[[], HasFamily] = (
            partial(find_served, settings, Cancellation())
            if runs_elsewhere(settings)
            else partial(locate_files, settings, replace(order, verify=False), Cancellation())
        )
        yield Serving(
            analyst=opened,
            check_ready=partial(check_ready, licences, opened, locate),
            list_models=partial(list_served, locate),
            licences=partial(open_licensing, settings, given),
            post=guarded_web(settings.allow_urls, offline=settings.offline).post,
        )
