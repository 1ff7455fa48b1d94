"""What an installation does with itself: check itself, and leave."""

from __future__ import annotations

from collections.abc import Mapping

from shimmy_vision.adapters.installation.built_files import (
    check_imports,
    check_packed_library,
    check_program,
    is_single_file,
)
from shimmy_vision.adapters.installation.own_folders import check_folder, find_traces
from shimmy_vision.adapters.installation.own_folders import remove_traces as remove_traces
from shimmy_vision.adapters.installation.running_programs import find_users
from shimmy_vision.domain.diagnosis import Finding
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.own_traces import Trace
from shimmy_vision.settings import Settings, read_settings
from shimmy_vision.use_cases.inspect_library import inspect_library
from shimmy_vision.wiring.engines import engine_probe


def check_self(settings: Settings) -> tuple[Finding, ...]:
    """Everything that ``shimmy self-check`` says; the licence server is not asked."""
    library, _ = inspect_library(engine_probe(settings), addable=not is_single_file())
    return (
        check_program(),
        check_packed_library(settings.library_directory),
        check_imports(),
        *library,
        check_folder("state folder", settings.state_directory),
        check_folder("cache folder", settings.cache_directory),
        check_folder("models folder", settings.models_directory),
    )


def running_users(settings: Settings) -> tuple[int, ...]:
    """Other processes that work with this installation's folders."""
    folders = (settings.state_directory, settings.cache_directory, settings.models_directory)
    return find_users(folders, lambda environment: _shares(environment, settings))


def _shares(environment: Mapping[str, str], settings: Settings) -> bool:
    """Whether a process with ``environment`` keeps its records where ``settings`` say."""
    try:
        theirs = read_settings(environment)
    except UsageError:
        return False
    return theirs.state_directory == settings.state_directory


def traces(settings: Settings, *, models: bool) -> tuple[Trace, ...]:
    """What is on this machine of this program, the models only where they are wanted."""
    return find_traces(
        settings.state_directory,
        settings.cache_directory,
        settings.models_directory if models else None,
        settings.local_socket,
    )
