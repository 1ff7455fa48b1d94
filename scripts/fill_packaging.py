"""Fills the templates of ``packaging/`` for a release.

    fill_packaging.py VERSION SHA256SUMS --base-url URL --homepage URL --out FOLDER

A digest that ``SHA256SUMS`` does not have stops it: no template is filled by half.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

PLACE = Path(__file__).resolve().parent.parent / "packaging"
_VERSION = re.compile(r"\d+\.\d+\.\d+([.-][0-9A-Za-z.-]+)?")
_MARK = re.compile(r"@([A-Z0-9_]+)@")
_LINE = re.compile(r"([0-9a-f]{64}) [ *]shimmy-([a-z]+)-([a-z0-9_]+)(\.exe)?")


def digests(sums: str) -> dict[str, str]:
    """``SHA256_LINUX_X86_64`` and its like, out of lines as sha256sum writes them."""
    found = (_LINE.fullmatch(line.strip()) for line in sums.splitlines())
    return {f"SHA256_{one[2]}_{one[3]}".upper(): one[1] for one in found if one}


def fill(template: str, values: dict[str, str]) -> str:
    """Raises KeyError with the names of what is missing."""
    missing = sorted({name for name in _MARK.findall(template) if name not in values})
    if missing:
        raise KeyError(", ".join(missing))
    return _MARK.sub(lambda found: values[found[1]], template)


def check_values(version: str, urls: list[str]) -> None:
    """Raises ValueError: what is put into scripts of others has to be plain."""
    if not _VERSION.fullmatch(version):
        raise ValueError(f"{version} is no version like 1.2.3")
    for url in urls:
        if not re.fullmatch(r"https://[A-Za-z0-9./_~%-]+", url):
            raise ValueError("addresses begin with https:// and hold nothing that needs quoting")


def main() -> int:
    """All templates, or none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    parser.add_argument("sums", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--homepage", required=True)
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    values = digests(words.sums.read_text(encoding="utf-8")) | {
        "VERSION": words.version,
        "BASE_URL": words.base_url.rstrip("/"),
        "HOMEPAGE": words.homepage,
    }
    try:
        check_values(words.version, [words.base_url, words.homepage])
        templates = sorted(PLACE.glob("*/*.in"))
        texts = {one.stem: fill(one.read_text(encoding="utf-8"), values) for one in templates}
    except (KeyError, ValueError) as error:
        print(f"fill_packaging: {error.args[0]} missing or wrong", file=sys.stderr)
        return 1
    words.out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (words.out / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
