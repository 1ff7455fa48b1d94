"""What a batch reads and writes: JSON Lines, Parquet, and which batch an output is of."""

from __future__ import annotations

import errno
import importlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.adapters.batch.batch_lines import BatchLines, drop_failed, read_lines
from shimmy_vision.adapters.batch.batch_output import (
    claimed_output,
    finish_output,
    lines_of,
    opened_lines,
    parts_of,
    record_of,
)
from shimmy_vision.adapters.batch.image_rows import (
    FileBounds,
    FileRow,
    ParquetColumns,
    group_rows,
    plan_groups,
)
from shimmy_vision.adapters.batch.parquet_results import COLUMNS, outcome_columns, write_parquet
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    CustomQuestion,
    DocumentRequest,
    StandardQuestion,
)
from shimmy_vision.domain.batch.batch_identity import (
    BatchIdentity,
    digest_request,
    identity_record,
    page_key,
    read_identity,
)
from shimmy_vision.domain.batch.row_outcome import (
    RowFailure,
    RowOutcome,
    outcome_json,
    read_outcome,
    row_digest,
)
from shimmy_vision.errors import ImageError, OutputError, UsageError
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import read_settings
from shimmy_vision.wiring.batch import BatchOrder, batch_parts, count_rows

BOUNDS = FileBounds(100, 200)
ASKED = "c" * 64

names = st.text(min_size=1, max_size=20)
outcomes = st.builds(
    lambda name, result, error: RowOutcome(
        name, "d" * 64, None if error else result, RowFailure(*error) if error else None
    ),
    names,
    st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(-9, 9), max_size=3),
    st.none() | st.tuples(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)),
)


def _done(name: str, **result: Any) -> RowOutcome:
    return RowOutcome(name, "d" * 64, result, None)


def _failed(name: str) -> RowOutcome:
    return RowOutcome(name, "", None, RowFailure("image-not-found", "No.", ""))


@given(outcomes)
def test_an_outcome_reads_back_from_its_line(outcome: RowOutcome) -> None:
    line = json.dumps(outcome_json(outcome))
    assert read_outcome(json.loads(line)) == outcome


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"image": "a", "sha256": ""}, {"image": 1, "sha256": "", "result": {}},
     {"image": "a", "sha256": "", "result": {}, "error": {}},
     {"image": "a", "sha256": "", "error": {"code": 1, "message": "", "hint": ""}}],
)  # fmt: skip
def test_whatever_is_no_outcome_is_not_taken_for_one(value: object) -> None:
    assert read_outcome(value) is None


@settings(max_examples=30)
@given(st.lists(outcomes, min_size=1, max_size=4, unique_by=lambda one: one.name), st.data())
def test_a_file_torn_anywhere_keeps_every_whole_row_and_goes_on(
    rows: list[RowOutcome], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.jsonl")
        sink = BatchLines(path)
        for one in rows:
            sink.write(one)
        sink.close()
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        again = BatchLines(path)
        assert [again.is_done(row_digest(one.name)) for one in rows] == [
            number < kept for number in range(len(rows))
        ]
        for one in rows[kept:]:
            again.write(one)
        again.close()
        assert path.read_bytes() == whole


def test_a_line_that_is_no_row_is_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"image":"a","sha256":"","result":{}}\nmy own notes\n')
    with pytest.raises(OutputError, match="Line 2") as caught:
        BatchLines(path)
    assert caught.value.code == "batch-output-damaged"


def test_failed_rows_are_taken_away_to_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = BatchLines(path)
    for one in (_done("a"), _failed("b"), _done("c")):
        sink.write(one)
        # There for whoever looks, and after a kill.
        assert path.read_bytes().endswith(b"\n")
        assert f'"image":"{one.name}"' in path.read_text()
    sink.close()
    with path.open("a") as file:
        file.write('{"image":"d"')
    drop_failed(path)
    assert [one.name for one in read_lines(path)] == ["a", "c"]


def test_parquet_output_gathers_runs_and_never_doubles_a_row(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    for rows in ([_done("a", text="ä"), _failed("b")], [_done("c")]):
        with opened_lines(output, again=False) as sink:
            for one in rows:
                sink.write(one)
        finish_output(output)
    table = pq.read_table(output)
    assert table.column_names == list(COLUMNS)
    assert table["image"].to_pylist() == ["a", "b", "c"]
    assert table["status"].to_pylist() == ["done", "failed", "done"]
    assert table["result"].to_pylist() == ['{"text":"ä"}', None, "{}"]
    assert table["code"].to_pylist() == [None, "image-not-found", None]
    # Killed between the rename and the removal of the lines.
    sink = BatchLines(lines_of(output))
    sink.write(_done("c"))
    sink.close()
    finish_output(output)
    assert pq.read_table(output)["image"].to_pylist() == ["a", "b", "c"]
    with opened_lines(output, again=True) as sink:
        assert [sink.is_done(row_digest(name)) for name in "abc"] == [True, False, True]


def test_lines_stay_until_the_parquet_file_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.parquet"
    with opened_lines(output, again=False) as sink:
        sink.write(_done("a"))

    def unsynced(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", unsynced)
        with pytest.raises(OutputError, match="Input/output"):
            finish_output(output)
    assert not output.exists()
    finish_output(output)
    assert pq.read_table(output)["image"].to_pylist() == ["a"]
    assert not lines_of(output).exists()


@pytest.mark.parametrize("end", [".jsonl", ".parquet"])
def test_a_document_with_pages_that_failed_is_done_again(tmp_path: Path, end: str) -> None:
    pages = [{"page": 1, "result": {}}, {"page": 2, "error": {"code": "deadline-exceeded"}}]
    output = tmp_path / f"out{end}"
    with opened_lines(output, again=False) as sink:
        sink.write(_done("a.pdf", pages=pages))
        sink.write(_done("b.pdf", pages=pages[:1]))
    finish_output(output)
    if end == ".parquet":
        assert pq.read_table(output)["status"].to_pylist() == ["partly", "done"]
    with opened_lines(output, again=True) as sink:
        assert [sink.is_done(row_digest(name)) for name in ("a.pdf", "b.pdf")] == [False, True]


def test_columns_that_somebody_added_are_not_lost(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    with opened_lines(output, again=False) as sink:
        sink.write(_done("a"))
    finish_output(output)
    table = pq.read_table(output).append_column("mine", pa.array(["note"]))
    pq.write_table(table, output)
    for again in (False, True):
        with pytest.raises(OutputError, match="mine"), opened_lines(output, again=again):
            pass
    assert pq.read_table(output).num_columns == len(COLUMNS) + 1


def test_a_file_whose_name_is_no_text_is_done_once(tmp_path: Path) -> None:
    order = _order(tmp_path, tmp_path / os.fsdecode(b"\xff.png"))
    for number in (0, 1):
        ((row,), _, _) = batch_parts(order)
        with opened_lines(order.output, again=False) as sink:
            assert sink.is_done(row_digest(row.name)) == bool(number)
            with pytest.raises(ImageError) as absent:
                row.read()
            error = RowFailure(absent.value.code, absent.value.message, "")
            sink.write(RowOutcome(row.name, "", None, error))
    other = tmp_path / os.fsdecode(b"\xfe.png")
    assert count_rows(_order(tmp_path, tmp_path / os.fsdecode(b"\xff.png"), other)) == 2
    # What Ray's machines write is Arrow's, which takes no such text at all.
    failed = RowOutcome("a", "", None, RowFailure("b", os.fsdecode(b"\xff"), ""))
    assert pa.array(list(outcome_columns(failed).values()))


def test_twins_are_found_before_anything_is_analysed(tmp_path: Path) -> None:
    table = _table(tmp_path / "in.parquet", image=[b"a", b"b", b"c"], id=["x", "y", "x"])
    with pytest.raises(UsageError) as caught:
        count_rows(_order(tmp_path, table, name="id"))
    assert caught.value.code == "batch-name-twice"
    assert count_rows(_order(tmp_path, table)) == 3


def test_the_model_that_the_environment_names_is_part_of_the_question(tmp_path: Path) -> None:
    order = _order(tmp_path, tmp_path / "a.png")
    said = [{}, {"SHIMMY_MODEL": "4.5"}, {"SHIMMY_MODEL": "4.6"}, {"SHIMMY_ENGINE": "vllm"}]
    asked = [order.asked(read_settings(one)) for one in said]
    assert len(set(asked)) == len(asked)
    named = replace(order, vision=replace(order.vision, model="4.5"))
    assert named.asked(read_settings({"SHIMMY_MODEL": "4.6"})) == asked[1]


def test_where_nothing_was_written_another_question_begins_another_batch(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with claimed_output(output, ASKED) as first, opened_lines(output, again=False):
        pass
    with claimed_output(output, "e" * 64) as second:
        assert second.asked == "e" * 64
        assert second.batch != first.batch


def test_a_page_is_the_same_only_in_the_same_batch_to_the_same_question() -> None:
    identity = BatchIdentity("a" * 32, ASKED)
    others = [replace(identity, batch="b" * 32), replace(identity, asked="e" * 64)]
    keys = {page_key(one, "a.png", "d" * 64) for one in (identity, *others)}
    assert len(keys) == 3


def test_the_order_of_a_schemas_properties_is_part_of_the_question() -> None:
    orders: list[dict[str, Any]] = [{"a": {}, "b": {}}, {"b": {}, "a": {}}]
    requests = [AnalysisRequest(CustomQuestion(None, {"properties": one})) for one in orders]
    requests.append(AnalysisRequest(StandardQuestion()))
    asked = [digest_request(DocumentRequest(one)) for one in requests]
    assert len(set(asked)) == 3


@pytest.mark.parametrize(
    "damage", [{"form": 2}, {"batch": "../x"}, {"asked": "A" * 64}, {"batch": None}]
)
def test_a_record_of_another_form_is_of_no_batch(damage: dict[str, Any]) -> None:
    record = identity_record(BatchIdentity("a" * 32, ASKED))
    assert read_identity(record) == BatchIdentity("a" * 32, ASKED)
    assert read_identity({**record, **damage}) is None


def _order(folder: Path, *paths: Path, name: str | None = None) -> BatchOrder:
    vision = VisionOrder(None, 1, 0, 100, 100, AnalysisRequest())
    inputs = tuple((str(path), path) for path in paths)
    columns = ParquetColumns("image", name)
    return BatchOrder(vision, DocumentRequest(), inputs, folder / "out.jsonl", columns)


def test_results_are_grouped_by_their_size(tmp_path: Path) -> None:
    lines, output = tmp_path / "rows.jsonl", tmp_path / "out.parquet"
    sink = BatchLines(lines)
    for number in range(5):
        sink.write(_done(str(number), text="x" * 9_000_000))
    sink.close()
    write_parquet(lines, output)
    file = pq.ParquetFile(output)
    assert file.metadata.num_row_groups == 3
    assert file.metadata.num_rows == 5


def test_an_output_belongs_to_one_batch_and_one_question(tmp_path: Path) -> None:
    output = tmp_path / "deep/out.jsonl"
    with claimed_output(output, ASKED) as first:
        with (
            pytest.raises(UsageError, match="Another shimmy batch") as busy,
            claimed_output(output, ASKED),
        ):
            pass
        assert busy.value.code == "batch-output-in-use"
    with claimed_output(output, ASKED) as again:
        assert again == first
    output.write_text("mine\n")
    with pytest.raises(UsageError) as changed, claimed_output(output, "e" * 64):
        pass
    assert changed.value.code == "batch-request-changed"
    record_of(output).unlink()
    with pytest.raises(UsageError) as foreign, claimed_output(output, ASKED):
        pass
    assert foreign.value.code == "batch-output-foreign"
    assert output.read_text() == "mine\n"
    # Answers to another question, of a cluster whose command was killed.
    output.unlink()
    parts_of(output).mkdir()
    (parts_of(output) / "1.parquet").touch()
    with pytest.raises(UsageError, match=r"batch\.json"), claimed_output(output, ASKED):
        pass


def _table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet_rows_hold_bytes_paths_or_both(tmp_path: Path) -> None:
    (tmp_path / "shot.png").write_bytes(b"file")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values: dict[str, Any] = {
        "bytes.parquet": [b"one", b"two", None],
        "paths.parquet": ["shot.png", "gone.png", "https://example.com/a.png"],
        "both.parquet": pa.array(
            [{"bytes": b"one", "path": None}, {"bytes": None, "path": "shot.png"}, None], kind
        ),
        "numbers.parquet": [1, 2, 3],
    }
    told: dict[str, list[bytes | str]] = {}
    for name, column in values.items():
        path = _table(tmp_path / name, image=column)
        groups = plan_groups([path], ParquetColumns())
        assert [(one.first, one.rows) for one in groups] == [(0, 2), (2, 1)]
        rows = [row for one in groups for row in group_rows(one, ParquetColumns(), BOUNDS)]
        assert [row.name for row in rows] == [f"{path}#{number}" for number in range(3)]
        told[name] = []
        for row in rows:
            try:
                told[name].append(row.read())
            except ImageError as error:
                told[name].append(error.code)
    assert told == {
        "bytes.parquet": [b"one", b"two", "batch-row-empty"],
        "paths.parquet": [b"file", "image-not-found", "batch-row-empty"],
        "both.parquet": [b"one", b"file", "batch-row-empty"],
        "numbers.parquet": ["batch-row-empty"] * 3,
    }


def test_rows_may_be_named_by_a_column(tmp_path: Path) -> None:
    path = _table(tmp_path / "in.parquet", shot=[b"a", b"b"], id=[7, 8])
    columns = ParquetColumns("shot", "id")
    (group,) = plan_groups([path], columns)
    assert [row.name for row in group_rows(group, columns, BOUNDS)] == ["7", "8"]


def test_a_file_that_is_damaged_within_says_so(tmp_path: Path) -> None:
    path = _table(tmp_path / "in.parquet", image=[b"a", b"b", b"c"])
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 20] = b"\xee" * 20
    path.write_bytes(data)
    first, second = plan_groups([path], ParquetColumns())
    assert len(list(group_rows(first, ParquetColumns(), BOUNDS))) == 2
    with pytest.raises(UsageError) as caught:
        list(group_rows(second, ParquetColumns(), BOUNDS))
    assert caught.value.code == "batch-input-unreadable"
    assert "\n" not in caught.value.message


def test_no_more_is_read_of_a_file_than_its_kind_may_have(tmp_path: Path) -> None:
    bounds, path = FileBounds(5000, 9000), tmp_path / "a"
    for head, most in ((b"\x89PNG", 5000), (b"%PDF-1.7", 9000)):
        path.write_bytes(head.ljust(20_000, b"."))
        assert len(FileRow("a", path, bounds).read()) == most + 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="such files are Unix's")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError) as caught:
        FileRow("pipe", tmp_path / "pipe", BOUNDS).read()
    assert caught.value.code == "image-unreadable"


def test_what_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    path = _table(tmp_path / "in.parquet", shot=[b"a"])
    with pytest.raises(UsageError, match="has no column 'image'; it has: shot") as missing:
        plan_groups([path], ParquetColumns())
    assert missing.value.code == "batch-column-missing"
    (tmp_path / "text.parquet").write_text("no")
    for name in ("text.parquet", "absent.parquet"):
        with pytest.raises(UsageError) as unreadable:
            plan_groups([tmp_path / name], ParquetColumns())
        assert unreadable.value.code == "batch-input-unreadable"


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UsageError, match="pyarrow") as caught:
        plan_groups([tmp_path / "in.parquet"], ParquetColumns())
    assert caught.value.code == "batch-extra-missing"
    assert "shimmy-vision[batch]" in caught.value.hint
