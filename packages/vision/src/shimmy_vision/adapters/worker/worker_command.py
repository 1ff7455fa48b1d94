"""How the engine process is started: an order as arguments that ``shimmy engine-worker`` reads.

A licence key is none of them: whoever is on this machine can read a command line.
"""

from __future__ import annotations

from shimmy_vision.adapters.engine.child_probe import command_of_this_program
from shimmy_vision.ports.vision_order import VisionOrder


def worker_command(order: VisionOrder) -> tuple[str, ...]:
    """The command for ``order``, except its licence. Of its request only the longest answer is

    passed on.
    """
    values = {
        "--model": order.model,
        "--threads": order.threads,
        "--gpu-layers": order.gpu_layers,
        "--max-image-bytes": order.max_image_bytes,
        "--max-document-bytes": order.max_document_bytes,
        "--max-dim": order.max_dimension,
        "--max-tokens": order.request.limits.max_tokens,
        "--parallel": order.sequences,
        "--idle-seconds": order.idle_seconds,
        "--encodings-bytes": order.caches.encodings_bytes,
        "--states-bytes": order.caches.states_bytes,
        "--results-bytes": order.caches.results_bytes,
    }
    # Joined: a value may begin with a dash.
    arguments = (f"{name}={value}" for name, value in values.items() if value is not None)
    verify = ("--verify",) if order.verify else ()
    return (*command_of_this_program("engine-worker"), *arguments, *verify)
