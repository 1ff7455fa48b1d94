"""``shimmy-ops licences``: what is installed is settled, and nothing unknown gets through."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_ops.cli.main import main
from shimmy_ops.domain.judging.allow_lists import LicenceRules, Settled, parse_licence_rules
from shimmy_ops.domain.judging.inventory import (
    Installed,
    Pinned,
    parse_lock,
    take_inventory,
    unused_rules,
)
from shimmy_ops.domain.judging.licence_terms import (
    canonical_expression,
    not_accepted,
    settle_expression,
)
from shimmy_ops.errors import ReleaseError
from shimmy_ops.wiring.judging import pinned_packages

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[3]
MIT = LicenceRules({"MIT": "permissive, keep the notice"})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def installed(**given: object) -> Mapping[str, Installed]:
    facts: dict[str, object] = {
        "name": "a", "version": "1", "expression": "MIT", "free_text": "", "classifiers": (),
        "texts": {"LICENSE": "words"}, **given,
    }  # fmt: skip
    return {"a": Installed(**facts)}  # type: ignore[arg-type]


def problems(there: Mapping[str, Installed], rules: LicenceRules = MIT) -> str:
    return "; ".join(take_inventory([Pinned("a", "1", wanted=True)], there, rules)[0].problems)


@pytest.mark.usefixtures("here")
def test_everything_that_runs_is_known_accepted_and_has_its_text(capsys: Capture) -> None:
    assert main(["licences", "--check", "--json"]) == 0
    read = capsys.readouterr()
    told = json.loads(read.out)
    assert told["unused"] == [] and len(told["terms"]) > 70
    terms = {(one["package"], one["part"]): one for one in told["terms"]}
    assert all(one["licence"] for one in terms.values())
    assert all(one["texts"] for one in terms.values() if one["package"])
    assert terms[None, "MiniCPM-V's models"]["licence"] == "Apache-2.0"
    for package, licence in (
        ("certifi", "MPL-2.0"),
        ("tqdm", "MPL-2.0 AND MIT"),
        ("numpy", "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0"),
    ):
        assert terms[package, None]["licence"] == licence
    assert terms["numpy", "libquadmath"]["licence"] == "LGPL-2.1-or-later"
    assert ("psycopg", None) not in terms


@pytest.mark.usefixtures("here")
def test_another_reader_of_the_same_data_agrees() -> None:
    names = [one.name for one in pinned_packages(Path("requirements/runtime.lock"))]
    command = [str(Path(sys.executable).with_name("pip-licenses")), "--format", "json", "-p"]
    shown = subprocess.run([*command, *names], capture_output=True, text=True, check=True)
    theirs = {re.sub(r"[-_.]+", "-", one["Name"]).lower(): one["License"]
              for one in json.loads(shown.stdout)}  # fmt: skip
    said = subprocess.run(
        [str(Path(sys.executable).with_name("shimmy-ops")), "licences", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = {one["package"]: one["licence"] for one in json.loads(said.stdout)["terms"]
            if not one["part"]}  # fmt: skip
    compared = [name for name in theirs if canonical_expression(theirs[name])]
    assert len(compared) > 30
    for name in compared:
        assert ours[name] == canonical_expression(theirs[name]), name


@pytest.mark.usefixtures("here")
def test_the_texts_are_written_and_what_is_not_accepted_fails(
    tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "THIRD-PARTY-LICENSES"
    assert main(["licences", "--out", str(out)]) == 0
    text = out.read_text()
    assert "Mozilla Public License" in text and "fastapi-swagger 0.4.64: Swagger UI" in text
    narrow = tmp_path / "narrow.toml"
    narrow.write_text('[[licence]]\nid = "MIT"\nreason = "permissive, keep the notice"\n')
    capsys.readouterr()
    assert main(["licences", "--check", "--allow-list", str(narrow)]) == 1
    said = capsys.readouterr().out
    assert "! certifi: MPL-2.0 is not among the licences that are accepted" in said
    assert "! jinja2: its licence is not known" in said
    assert main(["licences", "--allow-list", str(narrow)]) == 0
    assert main(["licences", "--allow-list", str(tmp_path / "none")]) == 1


def test_what_stands_in_the_way_is_named() -> None:
    assert problems(installed()) == ""
    assert "GPL-3.0-only is not among" in problems(installed(expression="GPL-3.0-only"))
    assert "is not known" in problems(installed(expression="", free_text="Some licence"))
    assert "text is not with it" in problems(installed(texts={}))
    assert "version 2 is installed" in problems(installed(version="2"))
    assert "it is not installed" in problems({})
    settled = (
        Settled("A", "MIT", "its file was read"),
        Settled("gone", "MIT", "its file was read"),
    )
    rules = LicenceRules({**MIT.accepted, "ISC": "permissive, too"}, settled)
    assert problems(installed(expression="", free_text="Some licence"), rules) == ""
    terms = take_inventory([Pinned("a", "1", wanted=True)], installed(), rules)
    assert unused_rules(terms, rules) == ("licence ISC", "package gone")


@pytest.mark.parametrize(
    ("expression", "left"),
    [
        ("MIT", ()),
        ("MIT OR GPL-3.0-only", ()),
        ("GPL-3.0-only OR MIT", ()),
        ("MIT AND GPL-3.0-only", ("GPL-3.0-only",)),
        ("(MIT OR GPL-3.0-only) AND (ISC OR GPL-2.0-only)", ()),
        ("MIT OR GPL-3.0-only AND AGPL-3.0-only", ()),
        ("(MIT OR GPL-3.0-only) AND AGPL-3.0-only", ("AGPL-3.0-only",)),
        ("GPL-3.0-only OR AGPL-3.0-only", ("GPL-3.0-only", "AGPL-3.0-only")),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0",
            ("GPL-2.0-only WITH Classpath-exception-2.0",),
        ),
        ("ISC WITH Classpath-exception-2.0", ("ISC WITH Classpath-exception-2.0",)),
        ("Zlib", ("Zlib",)),
        ("", ("",)),
    ],
)
def test_an_expression_is_weighed(expression: str, left: tuple[str, ...]) -> None:
    assert not_accepted(expression, {"MIT", "ISC"}) == left


TERMS = st.recursive(
    st.sampled_from(["MIT", "ISC", "GPL-3.0-only", "Zlib"]),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner),
    max_leaves=6,
)


@given(TERMS)
def test_an_expression_is_weighed_as_logic_has_it(tree: object) -> None:
    accepted = {"MIT", "ISC"}

    def written(one: object) -> str:
        return (
            f"({written(one[0])} {one[1]} {written(one[2])})"
            if isinstance(one, tuple)
            else str(one)
        )

    def true(one: object) -> bool:
        if not isinstance(one, tuple):
            return one in accepted
        both = true(one[0]), true(one[2])
        return all(both) if one[1] == "AND" else any(both)

    assert (not_accepted(canonical_expression(written(tree)), accepted) == ()) is true(tree)


def test_data_that_leave_it_open_are_not_guessed() -> None:
    assert settle_expression("", "MIT", ()) == "MIT"
    assert settle_expression("", "", ("License :: OSI Approved :: MIT License",)) == "MIT"
    for free, classifiers in (
        ("", ("License :: OSI Approved :: BSD License",)),
        ("", ("License :: OSI Approved :: MIT License",
              "License :: OSI Approved :: Apache Software License")),
        ("BSD", ()),
        ("see the file", ()),
        ("", ()),
    ):  # fmt: skip
        assert settle_expression("", free, classifiers) == ""


def test_a_lock_is_read_with_its_markers() -> None:
    text = (
        "# a comment\nA_b.c==1.0 \\\n    --hash=sha256:00\n"
        "win==2 ; sys_platform == 'no-such-system' \\\n    --hash=sha256:00\n"
    )
    assert parse_lock(text, {"sys_platform": "here"}) == (
        Pinned("a-b-c", "1.0", True),
        Pinned("win", "2", False),
    )


@pytest.mark.parametrize(
    "data",
    [
        {"licences": []},
        {"licence": [{"id": "MIT", "reason": "no"}]},
        {"licence": {"id": "MIT"}},
        {"licence": ["MIT"]},
        {"package": [{"name": "a", "licence": "MIT"}]},
        {"inside": [{"package": "a", "what": "b", "licence": "MIT", "reason": 7}]},
    ],
)
def test_a_list_that_makes_no_sense_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ReleaseError) as refused:
        parse_licence_rules(data)
    assert refused.value.code == "allowances-wrong"
