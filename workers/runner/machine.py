"""What a runner can do by itself: what its machine is."""

import platform
from typing import Final

ARCHES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""What kernels call architectures, and what distributions do."""


def capabilities(worker: str, provider: str) -> dict[str, tuple[str, ...]]:
    """By dimension: its name, how it runs tasks, its system and architecture."""
    machine = platform.machine().lower()
    return {
        "worker": (worker,),
        "provider": (provider,),
        "os": (platform.system().lower(),),
        "arch": tuple(sorted({machine, ARCHES.get(machine, machine)})),
    }
