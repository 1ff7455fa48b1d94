"""Writes what is in the single file: a CycloneDX bill of materials and the licences' texts.

    write_bill.py WORK ENVIRONMENT OUT [PAYLOAD]

Components are the distributions of which PyInstaller took a module or file, with the digests that
``requirements/dist.lock`` allows; the packed libraries by their manifest; Python, PyInstaller's
loader and the system's libraries that came along by their own digests.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_expression
from packageurl import PackageURL

import bootstrap
from bootstrap import ROOT, python_of, stop

# Runs in the build's environment: which distribution brought which top-level names.
_ASK = """
import importlib.metadata as m, json
def licence(d):
    told = [one.split(" :: ")[-1] for one in d.metadata.get_all("Classifier", ())
            if one.startswith("License :: OSI Approved :: ")]
    return d.metadata.get("License-Expression") or " or ".join(told)
print(json.dumps({d.name: [d.version, sorted({str(f) for f in d.files or ()}), licence(d)]
                  for d in m.distributions()}))
"""
_OWN = "shimmy-vision"
# Of GCC's libraries that programs need when they run.
_RUNTIME = "GPL-3.0-or-later WITH GCC-exception-3.1"


def main() -> int:
    """Both documents, into OUT."""
    work, environment, out = (Path(one) for one in sys.argv[1:4])
    payload = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    contents = json.loads((work / "contents.json").read_text(encoding="utf-8"))
    installed = _installed(environment)
    shipped = dict(find_shipped(contents, installed))
    hashes = locked_hashes((bootstrap.REQUIREMENTS / "dist.lock").read_text(encoding="utf-8"))
    bom = Bom()
    bom.metadata.component = Component(
        name="shimmy", version=shipped.pop(_OWN), type=ComponentType.APPLICATION, bom_ref="shimmy"
    )
    for name, version in sorted(shipped.items()):
        bom.components.add(_python(name, version, hashes.get(name, ()), installed[name][2]))
    for one in (*_native(payload), *_system(contents)):
        bom.components.add(one)
    bom.register_dependency(bom.metadata.component, bom.components)
    _write(bom, out / "shimmy.cdx.json")
    licences(shipped, work, out / "THIRD-PARTY-LICENSES")
    add_system_licences(contents, environment, payload, out / "THIRD-PARTY-LICENSES")
    return 0


def _installed(environment: Path) -> dict[str, tuple[str, list[str], str]]:
    command = (str(python_of(environment)), "-I", "-c", _ASK)
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {_plain(name): tuple(told) for name, told in json.loads(said).items()}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def find_shipped(
    contents: dict[str, list[str]], installed: dict[str, tuple[str, list[str], str]]
) -> Iterator[tuple[str, str]]:
    """Name and version of each distribution of which something is inside."""
    inside = {*contents["files"], *(name.replace(".", "/") for name in contents["modules"])}
    for name, (version, files, _licence) in installed.items():
        stems = {re.sub(r"(/__init__)?\.py$", "", one) for one in files}
        if stems & inside:
            yield name, version


def locked_hashes(lock: str) -> dict[str, tuple[str, ...]]:
    """SHA-256 digests of each locked distribution's files."""
    found: dict[str, tuple[str, ...]] = {}
    for block in re.split(r"\n(?=\S)", lock):
        name = block.partition("==")[0]
        found[_plain(name)] = tuple(re.findall(r"sha256:([0-9a-f]{64})", block))
    return found


def _python(name: str, version: str, hashes: tuple[str, ...], licence: str) -> Component:
    url = PackageURL("pypi", name=name, version=version)
    digests = [HashType(alg=HashAlgorithm.SHA_256, content=one) for one in hashes]
    return Component(
        name=name, version=version, purl=url, bom_ref=str(url), hashes=digests,
        type=ComponentType.LIBRARY, licenses=_licences(licence),
    )  # fmt: skip


def _licences(said: str) -> list[License]:
    """An expression of SPDX where it is one, else as the package words it."""
    if not said:
        return []
    return [LicenseExpression(said) if is_expression(said) else DisjunctiveLicense(name=said)]


def _native(payload: Path | None) -> Iterator[Component]:
    """The packed libraries, of llama.cpp and the compiler's runtime."""
    if payload is None:
        return
    manifest = json.loads((payload / "manifest.json").read_text(encoding="utf-8"))
    for one in manifest["files"]:
        if one["role"] == "runtime":
            yield _file(one["soname"], "of the compiler that built", one["sha256"], _RUNTIME)
        else:
            yield _file(one["soname"], manifest["build"], one["sha256"], "MIT")


def _system(contents: dict[str, list[list[str]]]) -> Iterator[Component]:
    """Python itself, and libraries of the system that built."""
    yield Component(
        name="cpython", version=platform.python_version(), bom_ref="cpython",
        type=ComponentType.PLATFORM, licenses=_licences("PSF-2.0"),
    )  # fmt: skip
    for place, source in contents["core"]:
        if re.match(r"lib[^/]+\.so|lib[^/]+\.dylib|[^/]+\.dll", place) and Path(source).is_file():
            digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
            licence = _RUNTIME if place.startswith(("libgcc_s.", "libstdc++.")) else ""
            yield _file(place, "of the system that built", digest, licence)


def _file(name: str, version: str, digest: str, licence: str = "") -> Component:
    return Component(
        name=name,
        version=version,
        bom_ref=f"file:{name}",
        type=ComponentType.LIBRARY,
        licenses=_licences(licence),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )


def _write(bom: Bom, target: Path) -> None:
    """Without the time and the serial number of this run: the same build, the same document."""
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def licences(shipped: dict[str, str], work: Path, target: Path) -> None:
    """All texts, by the operator's own inventory, of what is shipped and the native library."""
    lock = work / "shipped.lock"
    lock.write_text(
        "".join(f"{name}=={version}\n" for name, version in sorted(shipped.items())),
        encoding="utf-8",
    )
    command = (
        *(str(Path(sys.executable).with_name("shimmy-ops")), "licences", str(lock)),
        *(str(bootstrap.REQUIREMENTS / "native.lock"), "--out", str(target)),
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not target.is_file():
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        stop("The licences could not be written.", "Run: shimmy-ops licences")


def add_system_licences(
    contents: dict[str, list[list[str]]], environment: Path, payload: Path | None, target: Path
) -> None:
    """Python's, PyInstaller's, and those of the system's libraries that came along (Debian's).

    The packed library brings the compiler's OpenMP runtime.
    """
    texts = {
        f"Python {platform.python_version()}": next(
            Path(sys.base_prefix).glob("lib/python3*/LICENSE.txt"), None
        ),
        "PyInstaller's loader": next(environment.rglob("pyinstaller-*/**/COPYING.txt"), None),
    }
    for package in sorted(_packages(contents)):
        texts[f"Debian's {package}"] = Path("/usr/share/doc", package, "copyright")
    if payload is not None and any(one.name.startswith("libgomp.") for one in payload.iterdir()):
        texts["libgomp, GCC's OpenMP runtime, in the packed native library"] = Path(
            "/usr/share/doc/libgomp1/copyright"
        )
    with target.open("a", encoding="utf-8") as file:
        for name, place in texts.items():
            if place is None or not place.is_file():
                stop(f"The licence of {name} was not found.", "Add it to THIRD-PARTY-LICENSES.")
            said = place.read_text(encoding="utf-8", errors="replace")
            file.write(f"\n{'=' * 80}\n{name}\n{'=' * 80}\n\n{said}")


def _packages(contents: dict[str, list[list[str]]]) -> set[str]:
    """Empty where the system has no dpkg: its libraries' licences are then nobody's to find."""
    found = set()
    for _place, source in contents["core"]:
        path = Path(source).resolve()
        # What was merged into /usr is listed as it was before.
        for one in (path, Path("/", *path.parts[2:])):
            if path.is_relative_to("/usr/lib") and shutil.which("dpkg"):
                command = ("dpkg", "-S", str(one))
                said = subprocess.run(command, capture_output=True, text=True, check=False)
                found |= {said.stdout.partition(":")[0]} - {""}
    return found


if __name__ == "__main__":
    sys.exit(main())
