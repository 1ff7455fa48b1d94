"""Writes down what the product and the sandbox's licence server say to each other.

    make_wire_samples.py [--edition N]

Into ``contracts/wire/licensing-N.json``: over the last edition where no client with that wire was
released yet, and as the next number where one was, so that what is out there stays written down.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--edition", type=int, default=1)
    edition = parser.parse_args().edition
    sys.path.append(str(ROOT / "packages/vision/tests/support"))
    samples = importlib.import_module("wire_samples")
    place = ROOT / f"contracts/wire/licensing-{edition}.json"
    place.parent.mkdir(exist_ok=True)
    written = json.dumps(samples.record(), indent=1, ensure_ascii=False)
    place.write_text(written + "\n", encoding="utf-8")
    print(place.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
