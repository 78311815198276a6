from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import DataError
from curation.release import write_atomic
from curation.store import Workspace, current_sources, load
from curation.types import FACTS, Clip, Decision, Event, Refusal, Source

events = st.builds(
    Event,
    st.lists(st.sampled_from(["collision", "near_collision", "normal"]), min_size=1, unique=True).map(tuple),
    time_s=st.none() | st.floats(0, 100),
)
sources = st.builds(
    Source, st.text("ab"), st.text(max_size=5).filter(str.isprintable), st.just("u"), st.just("h"), st.floats(0, 9),
    st.floats(1, 60), st.integers(1, 9), st.integers(1, 9), events=st.lists(events, max_size=2).map(tuple),
    attributes=st.dictionaries(st.text("xy", min_size=1), st.text("é\n\"x")),
)  # fmt: skip


@given(st.lists(sources, max_size=6))
def test_what_is_written_is_read_back_once(tmp_path_factory: pytest.TempPathFactory, records: list[Source]) -> None:
    ws = Workspace(tmp_path_factory.mktemp("ws"))
    for _ in range(2):
        with ws.writer(Source) as out:
            for r in records:
                out.add(r)
    read = list(ws.read(Source))
    assert {r.id for r in read} == {r.id for r in records}
    assert len(read) == len({r.id for r in records})
    assert all(load(Source, {**row, "id": ""}).id == row["id"] for row in ws.rows(Source))


@given(cut=st.integers(1, 60))
def test_a_torn_last_line_is_moved_aside(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    ws = Workspace(tmp_path_factory.mktemp("ws"))
    first, second = Refusal("ingest", "a", "empty"), Refusal("ingest", "b", "empty")
    ws.refuse([first, second])
    path = ws.path(Refusal)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [r.id for r in ws.read(Refusal)] == [first.id]
    assert ws.refuse([first, second]) == 1
    assert [r.id for r in ws.read(Refusal)] == [first.id, second.id]
    torn = Path(f"{path}.torn").read_bytes()
    assert torn == whole[whole.index(b"\n") + 1 : -cut] + b"\n"


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    ws.refuse([Refusal("ingest", "a", "empty")])
    with ws.path(Refusal).open("ab") as f:
        f.write(b"not json\n")
    with pytest.raises(DataError, match=r"refusals\.jsonl:2: not JSON"):
        list(ws.read(Refusal))


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    with ws.writer(Source), pytest.raises(DataError, match="another run is writing it"), ws.writer(Source):
        pass
    with ws.writer(Source), ws.writer(Refusal):
        pass


def test_kill_9_while_writing_loses_no_acknowledged_record(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from curation.store import Workspace\nfrom curation.types import Refusal\n"
        "with Workspace(Path(sys.argv[1])).writer(Refusal) as out:\n"
        "    for i in range(10**6):\n"
        "        out.add(Refusal('s', str(i), 'x'*50))\n"
        "        print(i, flush=True)\n"
    )
    for n in range(3):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05 * (n + 1))
        child.send_signal(signal.SIGKILL)
        told = [int(line) for line in child.stdout.read().split()]
        child.wait()
        ws = Workspace(tmp_path)
        with ws.writer(Refusal):
            pass
        keys = [int(r.key) for r in ws.read(Refusal)]
        assert keys == list(range(len(keys)))
        assert not told or keys[-1] >= told[-1]


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    ws.refuse([Refusal("s", "a", "x")])
    size = ws.path(Refusal).stat().st_size
    pid = os.fork()
    if pid == 0:  # a child whose files may not grow: the kernel's own "no room"
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
        try:
            ws.refuse([Refusal("s", "b", "x" * 100)])
        except DataError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert ws.path(Refusal).stat().st_size == size


def test_the_newest_row_of_a_key_is_current_and_yanked_ones_are_out(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    old = Source("d", "k", "u", "h", 1.0, 1.0, 1, 1)
    new = Source("d", "k", "u", "h2", 1.0, 1.0, 1, 1)
    other = Source("d", "k2", "u", "h3", 1.0, 1.0, 1, 1)
    with ws.writer(Source) as out:
        for s in (old, new, other):
            out.add(s)
    with ws.writer(Decision) as out2:
        out2.add(Decision(other.id, "yank", "blurred", "me"))
    assert current_sources(ws) == {new.id: new}


def test_what_ingest_last_saw_is_current_even_if_it_saw_nothing(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    s = Source("d", "k", "u", "h", 1.0, 1.0, 1, 1)
    with ws.writer(Source) as out:
        out.add(s)
    assert current_sources(ws) == {s.id: s}
    ws.write_view("sources", [])
    assert current_sources(ws) == {}


def test_blobs_are_named_by_their_bytes(tmp_path: Path) -> None:
    ws = Workspace(tmp_path / "ws")
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abc")
    assert ws.add_blob(tmp_path / "a") == ws.add_blob(tmp_path / "b")
    assert [p.read_bytes() for p in (ws.root / "blobs").rglob("*.mp4")] == [b"abc"]


def test_views_are_replaced_whole(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    ws.write_view("x", [{"a": 1}, {"a": 2}])
    ws.write_view("x", [{"a": 3}])
    assert ws.read_view("x") == [{"a": 3}]
    assert ws.read_view("none") == []

    def broken() -> object:
        yield {"a": 4}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ws.write_view("x", broken())  # type: ignore[arg-type]
    assert ws.read_view("x") == [{"a": 3}]
    assert [p.name for p in (ws.root / "views").iterdir()] == ["x.jsonl"]


def test_threads_that_write_one_file_leave_it_whole(tmp_path: Path) -> None:
    path, versions = tmp_path / "f", [bytes([n]) * 1_000_000 for n in (1, 2, 3)]
    write_atomic(path, versions[0])
    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write_atomic, path, version) for version in versions * 20]
        while not all(one.done() for one in writing):
            assert path.read_bytes() in versions
    assert [one.result() for one in writing] == [None] * 60 and os.listdir(tmp_path) == ["f"]


def test_write_atomic_cleans_up_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "f", "text")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(DataError, match="'colour'; written by a newer version"):
        load(Refusal, {"stage": "s", "key": "k", "reason": "r", "colour": 1})


def test_every_fact_has_its_file() -> None:
    assert sorted(FACTS) == ["assignments", "clips", "decisions", "drafts", "refusals", "reviews", "sources"]


def test_a_text_with_odd_line_ends_comes_back_from_a_view(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    rows = [{"text": "one\u2028two\x85three\x0bfour\r\nfive"}, {"text": ""}]
    ws.write_view("x", rows)
    assert ws.read_view("x") == rows


def test_a_broken_view_says_what_to_do(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    ws.write_view("x", [{"a": 1}]).write_text('{"a": 1}\n{"a"')
    with pytest.raises(DataError, match=r"x\.jsonl:2: not JSON .*remove the file"):
        ws.read_view("x")


@pytest.mark.parametrize("line", [b"5\n", b"[]\n", b"null\n"])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes) -> None:
    ws = Workspace(tmp_path)
    ws.path(Refusal).write_bytes(line)
    with pytest.raises(DataError, match=r"refusals\.jsonl:1: not a record"):
        list(ws.read(Refusal))


def test_an_event_of_a_newer_version_is_refused() -> None:
    row = {
        "source_id": "s",
        "role": "event",
        "start_s": 0,
        "end_s": 1,
        "profile": {},
        "events": [{"classes": [], "speed": 1}],
    }
    with pytest.raises(DataError, match="speed"):
        load(Clip, row)


def test_only_one_at_a_time_does_a_thing(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    with ws.alone("publish"), pytest.raises(DataError, match="another run"), Workspace(tmp_path).alone("publish"):
        pass
    with ws.alone("publish"), ws.alone("resolve"):
        pass
