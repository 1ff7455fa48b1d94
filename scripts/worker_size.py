"""How large a Worker's bundle is: raw and gzip, for each top package and in all.

Compressed as wrangler measures it, all of a package as one stream; so the parts add up to a little
more than the whole.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path


def main() -> int:
    """Print the table; 1 where the whole is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="a folder with src and python_modules")
    parser.add_argument("--most-kib", type=int, required=True, help="the most gzip may be")
    args = parser.parse_args()
    modules = args.bundle / "python_modules"
    parts = [args.bundle / "src", *sorted(modules.iterdir())]
    whole = b""
    for part in parts:
        content = _content(part)
        whole += content
        _line(part.name, content)
    kib = _line("in all", whole)
    if kib > args.most_kib:
        print(f"worker: {kib:.0f} KiB of gzip is above {args.most_kib}", file=sys.stderr)
        return 1
    return 0


def _content(part: Path) -> bytes:
    files = [part] if part.is_file() else sorted(one for one in part.rglob("*") if one.is_file())
    return b"".join(one.read_bytes() for one in files)


def _line(name: str, content: bytes) -> float:
    packed = len(gzip.compress(content)) / 1024
    print(f"{name:<32} {len(content) / 1024:>9.0f} KiB {packed:>8.0f} KiB gzip")
    return packed


if __name__ == "__main__":
    raise SystemExit(main())
