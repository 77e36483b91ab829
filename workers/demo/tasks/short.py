"""No module has more lines than so many: `short.py LINES`. It says which ones have."""

import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("domain", "projections", "adapters", "workers")


def long_ones(root: Path, most: int) -> Iterator[tuple[int, Path]]:
    """The modules with more than *most* lines, each with their number."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            lines = len(path.read_bytes().splitlines())
            if lines > most:
                yield lines, path.relative_to(root)


if __name__ == "__main__":
    most = int(sys.argv[1])
    found = list(long_ones(Path(), most))
    for lines, path in found:
        sys.stdout.write(f"{lines} lines: {path}\n")
    sys.stdout.write(f"{len(found)} modules have more than {most} lines\n")
    sys.exit(bool(found))
