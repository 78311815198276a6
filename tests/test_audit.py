"""Reading other people's questions: every way of writing them that was met, and the report on them."""

from __future__ import annotations

import csv
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.audit import audit, audit_texts
from curation.audit_page import render_text, render_texts, write_page
from curation.cli import main
from curation.errors import DataError, UsageError
from curation.questions import UnreadableError, answer_style, parse_answer, parse_options
from curation.rows import cell, match_columns, read_rows

FOUR = ["cat", "dog", "the end", "U.S. car"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (FOUR, FOUR),
        (json.dumps(FOUR), FOUR),
        (str(FOUR), FOUR),  # what a data frame writes into CSV
        ({"A": "cat", "B": "dog"}, ["cat", "dog"]),
        ({"label": ["A", "B"], "text": ["cat", "dog"]}, ["cat", "dog"]),
        ([{"label": "A", "text": "cat"}, {"label": "B", "text": "dog"}], ["cat", "dog"]),
        (["A. cat", "B. dog"], ["cat", "dog"]),
        (["(A) cat", "(B) dog"], ["cat", "dog"]),
        (["A. cat", "C. dog"], ["A. cat", "C. dog"]),  # not consecutive: part of the text
        ("A. cat, B. dog, C. the end, D. U.S. car", FOUR),
        ("A. cat, B. dog, C.the end, D.U.S. car", FOUR),  # no blank after the label
        ("A) cat B) dog C) the end D) U.S. car", FOUR),
        ("(A) cat (B) dog (C) the end (D) U.S. car", FOUR),
        ("A: cat\nB: dog\nC: the end\nD: U.S. car", FOUR),
        ("a. cat; b. dog; c. the end; d. U.S. car", FOUR),
        ("1. cat 2. dog 3. the end 4. U.S. car", FOUR),
        ("Options: A. cat, B. dog", ["cat", "dog"]),
        ("A. red, white, B. blue, or not, C. none", ["red, white", "blue, or not", "none"]),  # commas inside
        ("A. hit by Mr. B. Smith, B. fell, C. rose", ["hit by Mr. B. Smith", "fell", "rose"]),
        ("A. at 2.5 m, B. at 3. second", ["at 2.5 m", "at 3. second"]),
        ("1. 2.5 m, 2. 3.0 m", ["2.5 m", "3.0 m"]),
        ("A. ends with a stop., B. does not", ["ends with a stop.", "does not"]),
        ("cat\ndog\n", ["cat", "dog"]),
        ("cat | dog, wet", ["cat", "dog, wet"]),
        ("yes,no", ["yes", "no"]),
        ([1, 2.0, 3.5], ["1", "2", "3.5"]),
        (["cat", "", None, "dog", float("nan")], ["cat", "dog"]),
        ("['cat' 'dog'\n 'the end']", ["cat", "dog", "the end"]),  # what numpy writes
        ("array(['cat', 'dog'], dtype=object)", ["cat", "dog"]),
    ],
)
def test_options_are_read(written: Any, read: list[str]) -> None:
    assert [o.text for o in parse_options(written)] == read


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (None, "no options"),
        (7, "neither"),
        ("only one", "fewer than two"),
        (["cat", ""], "fewer than two"),
        ("A. cat", "fewer than two"),
        ([{"key": "A", "value": "cat"}, {"key": "B", "value": "dog"}], "objects without a text"),
        ("A. x B. y B. z", "label occurs twice"),
        ("[" * 5000 + "]" * 5000, "fewer than two"),  # deep nesting breaks no parser
        ("__import__('os').abort()", "fewer than two"),  # never evaluated
    ],
)
def test_options_that_cannot_be_read_say_why(written: Any, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        parse_options(written)


@pytest.mark.parametrize(
    ("options", "answer", "style", "place"),
    [
        (FOUR, "dog", "text", 1),
        (FOUR, " Dog. ", "text", 1),
        (FOUR, "B", "letter", 1),
        (FOUR, "(b)", "letter", 1),
        (FOUR, "B. dog", "letter", 1),
        (FOUR, "Answer: D", "letter", 3),
        (FOUR, "<answer>option_b</answer>", "letter", 1),
        (FOUR, "B - dog", "letter", 1),
        ("1. cat 2. dog", "B", "letter", 1),
        (FOUR, ["C"], "letter", 2),
        ("(A) cat (B) dog", "B) dog", "letter", 1),
        ("1. cat 2. dog", "2. dog", "letter", 1),
        ("0. cat 1. dog", 1, "letter", 1),
        (FOUR, "1", "letter", None),
        (FOUR, 3, "index from 0", 3),
        (FOUR, "3.0", "index from 0", None),
        (FOUR, 3.0, "index from 1", 2),
        (["cat", "", "dog"], 2, "index from 0", 1),  # the index counts empty columns
        (["cat", "", "dog"], "C", "letter", 1),
        (["yes", "no"], True, "text", 0),
        (FOUR, "B. cat", "letter", None),
        (FOUR, "E", "letter", None),
        (FOUR, "cow", "text", None),
        (FOUR, None, "letter", None),
        (FOUR, ["A", "B"], "letter", None),
        (["Dog", "dog."], "DOG", "text", None),
        (["cat", "", "dog"], 1, "index from 0", None),
    ],
)
def test_answers_are_resolved(options: Any, answer: Any, style: str, place: int | None) -> None:
    read = parse_options(options)
    if place is None:
        with pytest.raises(UnreadableError):
            parse_answer(read, answer, style)
    else:
        assert parse_answer(read, answer, style) == place


@pytest.mark.parametrize(
    ("options", "answers", "style", "doubt"),
    [
        (FOUR, [0, 1, 3], "index from 0", ""),
        (FOUR, ["1", "4", "2"], "index from 1", ""),
        (FOUR, [1, 2, 3], "index from 0", "0 is assumed"),
        ("1. cat 2. dog 3. bus", [1, 2, 1], "letter", ""),
        (FOUR, ["A", "D", "dog"], "letter", ""),
        (FOUR, ["cat", "dog", "B"], "text", ""),
        (["1", "2", "3", "4"], ["2", "3", "3"], "text", "3 answers would mean another option"),
    ],
)
def test_the_style_of_answers_is_that_of_the_whole_table(
    options: Any, answers: list[Any], style: str, doubt: str
) -> None:
    found, said = answer_style([(parse_options(options), a) for a in answers])
    assert found == style
    assert doubt in said
    assert bool(said) == bool(doubt)


# --- tables -----------------------------------------------------------------------------------------------------------


def biased(n: int = 240) -> list[dict[str, Any]]:
    rng = random.Random(0)
    rows = []
    for i in range(n):
        options = rng.sample(["urban road", "rural road", "tunnel", "car park"], 4)
        rows.append(
            {"q": "Where is it?", "video": f"v{i // 2}", "kind": "place", "options": options, "gt": "urban road"}
        )
    return rows


COLUMNS = {"question": "q", "options": "options", "answer": "gt", "group": "video", "family": "kind"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """`rows` in the format that the name asks for; lists become labelled text in CSV."""
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(r) for r in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as f:
            out = csv.DictWriter(f, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            out.writeheader()
            for row in rows:
                labelled = ", ".join(f"{'ABCD'[i]}. {o}" for i, o in enumerate(row["options"]))
                out.writerow(row | {"options": labelled})
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet"])
def test_the_same_questions_in_any_format_leak_alike(tmp_path: Path, name: str) -> None:
    result = audit(str(write(tmp_path / name, biased())), **COLUMNS)
    assert (result["verdict"], result["n"], result["groups"]) == ("leaks", 240, 120)
    assert result["accuracy"] == 1.0
    told = [clue["text"] for clue in result["telling"]["place"]]
    assert told[0] == "urban road"
    assert "urban" not in told  # says nothing beside it
    assert "road" in told
    assert result["skipped"] == {}
    json.dumps(result, allow_nan=False)


def test_shuffled_answers_do_not_leak(tmp_path: Path) -> None:
    rows = [row | {"gt": random.Random(i).choice(row["options"])} for i, row in enumerate(biased(1200))]
    result = audit(str(write(tmp_path / "a.jsonl", rows)), **COLUMNS)
    assert result["verdict"] != "leaks"
    assert abs(result["accuracy"] - 0.25) < 0.05


def test_videos_that_hold_several_questions_each_become_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    question = {"question": "Where?", "options": "A. urban, B.rural", "GT": "B"}
    path.write_text(json.dumps({f"v{i}.mp4": {"place": question, "road": question} for i in range(40)}))
    rows = read_rows(str(path))
    assert set(rows[1]) == {"GT", "key1", "key2", "options", "question"}
    assert (rows[1]["key1"], rows[1]["key2"]) == ("v0.mp4", "road")
    result = audit(str(path), question="question", options="options", answer="GT", group="key1", family="key2")
    assert (result["n"], result["groups"], set(result["by_family"])) == (80, 40, {"place", "road"})


def test_other_shapes_of_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    shapes: list[tuple[Any, list[dict[str, Any]]]] = [
        ([["q", "n"], ["x", 1], ["y", 2]], [{"q": "x", "n": 1}, {"q": "y", "n": 2}]),
        ({"v1": {"q": "x"}}, [{"key1": "v1", "q": "x"}]),
        ({"v1": {"q": "x", "meta": {"w": 1}}}, [{"key1": "v1", "q": "x", "meta": {"w": 1}}]),
        ({"v1": {"qa": {"q": "x"}, "meta": {"w": 1}}}, [{"key1": "v1", "qa": {"q": "x"}, "meta": {"w": 1}}]),
        ({"data": [{"q": "x"}], "version": 2}, [{"key1": "data", "q": "x"}]),
    ]
    for written, rows in shapes:
        path.write_text(json.dumps(written))
        assert read_rows(str(path)) == rows
    assert cell(rows[0] | {"m": {"w": float("nan")}}, "m.w") is None
    assert cell({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert cell({"a": 3}, "a.b.c") is None


def test_header_row_in_jsonl_and_option_columns_by_pattern(tmp_path: Path) -> None:
    lines: list[list[Any]] = [["id", "q", "option10", "option2", "option0", "answer"]]
    lines += [[i, "How?", "tenth", "second", "", 2] for i in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = read_rows(str(tmp_path / "a.jsonl"))
    assert match_columns(rows, "option*") == ["option0", "option2", "option10"]
    assert match_columns(rows, "option10, option2") == ["option10", "option2"]
    for pattern in ("option*", "option0,option2,option10"):
        result = audit(str(tmp_path / "a.jsonl"), question="q", options=pattern, answer="answer", group="id")
        assert result["n"] == 40
        assert result["examples"] == [] or result["examples"][0]["options"] == ["second", "tenth"]
        assert any("of 40 with 2 options, 40 have the right one in place 2" in n for n in result["notes"])


def test_a_folder_is_read_whole_and_limit_cuts_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", biased(10))
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "b.csv", biased(10))
    rows = read_rows(str(tmp_path))
    assert [r["file"] for r in rows] == ["a.jsonl"] * 10 + ["sub/b.csv"] * 10
    assert audit(str(tmp_path), **COLUMNS, limit=3)["rows"] == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"q": 1}\n{"q": \n', "line 2: not JSON"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"[1, 2]", "record 1"),
        ("a.json", b"3", "neither a list nor an object"),
        ("a.json", b'{"a": 1}', "dict, neither a list nor an object of records"),
        ("a.json", b'[["q"], ["x", "y"]]', "row 2: 2 values under 1 columns"),
        ("a.json", b"[[1], [2]]", "no header"),
        ("a.csv", b"q,\xe9\n", "not UTF-8"),
        ("a.csv", b"q\n" + b"x" * 200_000, "cannot be read"),
        ("a.csv", b"q,n\nwet, not dry,1\n", "line 2: more cells than the header"),
        ("a.csv", b"q\n", "no rows"),
        ("a.parquet", b"nothing", "not readable as Parquet"),
        ("a.xlsx", b"x", "cannot read .xlsx"),
        ("a.json", b"[" * 100_000, "not JSON"),
    ],
)
def test_broken_files_are_one_clear_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        audit(str(tmp_path / name), **COLUMNS)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_unknown_columns_and_paths_name_the_near_one(tmp_path: Path, name: str) -> None:
    path = str(write(tmp_path / name, biased(10)))
    with pytest.raises(
        UsageError, match=r"no column 'vidio'; did you mean 'video'\? The columns are: gt, kind, options, q, video"
    ):
        audit(path, **COLUMNS | {"group": "vidio"})
    with pytest.raises(UsageError, match="no column 'zzz'; The columns are"):
        audit(path, **COLUMNS | {"options": "zzz"})
    with pytest.raises(UsageError, match="no such file"):
        audit(str(tmp_path / "absent.csv"), **COLUMNS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no .*\.parquet file in this folder"):
        audit(str(tmp_path / "empty"), **COLUMNS)


def test_unreadable_questions_are_counted_and_fatal_only_if_none_is_left(tmp_path: Path) -> None:
    rows = biased(100)
    rows[3]["gt"] = "a boat"
    rows[4]["options"] = ["tunnel"]
    rows[5]["video"] = None
    result = audit(str(write(tmp_path / "a.jsonl", rows)), **COLUMNS)
    assert {r: s["n"] for r, s in result["skipped"].items()} == {
        "answer is not among the options": 1,
        "fewer than two options": 1,
    }
    assert result["skipped"]["answer is not among the options"]["row"] == 4
    assert result["n"] == 98
    assert any("1 questions have no group" in n for n in result["notes"])
    for row in rows[:30]:
        row["gt"] = "a boat"
    assert "only 70 of 100" in audit(str(write(tmp_path / "a.jsonl", rows)), **COLUMNS)["notes"][0]
    for row in rows:
        row["gt"] = "a boat"
    with pytest.raises(
        DataError, match=r"99 of 100 questions cannot be read: answer is not among the options.*a boat.*check"
    ):
        audit(str(write(tmp_path / "a.jsonl", rows)), **COLUMNS)


def test_questions_in_a_list_are_rows_and_the_end_of_a_name_will_do(tmp_path: Path) -> None:
    asked = [{"question": r["q"], "options": r["options"], "answer": r["gt"], "family": "f"} for r in biased(120)]
    asked.append({"question": "Describe it.", "options": [], "answer": "a road", "family": "open"})
    rows = [
        {"group": f"v{i}", "value": {"items": asked[2 * i : 2 * i + 2]}, "messages": [{"role": "user"}]}
        for i in range(61)
    ]
    path = str(write(tmp_path / "a.parquet", rows))
    for prefix in ("value.items.", "items.", ""):
        names = {n: f"{prefix}{n}" for n in ("question", "options", "answer", "family")}
        result = audit(path, **names, group="group")
        assert (result["n"], result["groups"], result["accuracy"]) == (120, 60, 1.0)
        assert result["skipped"]["fewer than two options"]["n"] == 1


def test_hub_names_go_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    served = {"train": datasets.Dataset.from_list(biased(60)), "test": datasets.Dataset.from_list(biased(40))}
    asked: list[str] = []

    def look(self: Any, repo: str, timeout: float) -> None:
        asked.append(repo)
        if repo == "org/absent":
            raise ConnectionError("Couldn't reach\nthe Hub")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", look)
    monkeypatch.setattr(datasets, "load_dataset", lambda repo, *config: served if config in ((), ("vqa",)) else {})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert audit("org/name", **COLUMNS)["n"] == audit("org/name/vqa", **COLUMNS)["n"] == 100
    assert audit("org/name", **COLUMNS | {"family": "split"}, limit=70)["by_family"].keys() == {"train", "test"}
    with pytest.raises(UsageError, match="did you mean 'video'"):
        audit("org/name", **COLUMNS | {"group": "vidio"})
    with pytest.raises(DataError, match=r"org/absent: no such path .* nothing from the Hub: Couldn't reach the Hub"):
        audit("org/absent", **COLUMNS)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # what is in the cache can be read
    asked.clear()
    assert audit("org/name", **COLUMNS)["n"] == 100
    assert not asked


# --- beside the probe, and the report ---------------------------------------------------------------------------------


def test_positions_lengths_and_copies(tmp_path: Path) -> None:
    rows = [
        {"q": f"What of {i % 60}?", "video": f"v{i}", "kind": "k", "gt": 0}
        | {"options": [f"the right thing {i % 60}", f"wrong {i % 60}", "No sign.", "no sign"]}
        for i in range(120)
    ]
    rows[0]["gt"] = 3  # proves that indexes count from 0
    result = audit(str(write(tmp_path / "a.jsonl", rows)), **COLUMNS)
    assert "of 120 with 4 options, 119 have the right one in place 1" in result["notes"]
    assert result["by_features"]["position"]["verdict"] == "leaks"
    assert len(result["repeated"]) == 118  # all but the pair whose answers differ


class Page(HTMLParser):
    """Tags seen, and text outside the style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_strings_are_inert_on_the_page_and_in_the_terminal(tmp_path: Path) -> None:
    attack = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    rows = biased(120)
    for i, row in enumerate(rows):
        row["options"] = [o.replace("urban road", attack) for o in row["options"]]
        row |= {
            "gt": attack,
            "kind": f"{attack}\x1b[31m",
            "q": f"\x1b]0;owned\x07{attack}\nWhere?",
            "video": f"{attack}{i}",
        }
    rows[5]["gt"] = attack + "?"
    rows[6]["gt"] = "\ud800"
    result = audit(str(write(tmp_path / "a.jsonl", rows)), **COLUMNS)
    write_page(result, tmp_path / "new" / "page.html")
    page = (tmp_path / "new" / "page.html").read_text("utf-8")
    seen = Page(page)
    assert not {"script", "img", "link", "iframe"} & set(seen.tags)
    assert not [a for a in seen.attributes if a.startswith("on") or a in ("src", "href")]
    assert "<script>alert(1)" in seen.text  # shown as text
    assert "prefers-color-scheme: dark" in page
    assert seen.tags.count("svg") == len(result["by_features"]) + len(result["by_family"])
    assert "\x1b" not in render_text(result)
    assert "\x07" not in render_text(result)


def test_the_text_report_names_verdict_interval_family_and_clue(tmp_path: Path) -> None:
    result = audit(str(write(tmp_path / "a.jsonl", biased())), **COLUMNS)
    said = render_text(result)
    assert re.search(r"LEAKS.*everything", said)
    assert re.search(r"100\.0 % \[9\d\.\d, 100\.0\], chance 25\.0 %", said)
    assert "'urban road' right in 240 of 240 (expected 60)" in said
    one = audit(str(write(tmp_path / "b.jsonl", biased(2))), **COLUMNS)
    assert "NOT SHOWN" in render_text(one)
    write_page(one, tmp_path / "one.html")
    assert "nothing can be held out" in (tmp_path / "one.html").read_text("utf-8")
    with pytest.raises(UsageError, match="Is a directory; give the name of a page"):
        write_page(one, tmp_path)


def test_copied_captions_are_found_across_groups(tmp_path: Path) -> None:
    rng = random.Random(0)
    words = [f"w{i}" for i in range(3000)]
    rows = [{"video": f"v{i}", "text": " ".join(rng.choices(words, k=50))} for i in range(60)]
    rows.append({"video": "copy", "text": rows[3]["text"].upper()})
    rows.append({"video": "near", "text": rows[4]["text"] + " and a few more words"})
    rows.append({"video": "reworded", "text": " ".join(rows[5]["text"].split()[:30] + rng.choices(words, k=20))})
    rows.append({"video": "v6", "text": rows[6]["text"]})
    rows.append({"video": "none", "text": None})
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = audit_texts(str(tmp_path / "a.jsonl"), text="text", group="video")
    assert [result[k] for k in ("n", "exact", "near", "reworded", "within_group", "empty")] == [65, 1, 1, 1, 1, 1]
    assert [set(p["groups"]) for p in result["pairs"]] == [{"v3", "copy"}, {"v4", "near"}, {"v5", "reworded"}]
    assert "1 pairs with the same words, 1 near copies, 1 reworded" in render_texts(result)
    (tmp_path / "b.csv").write_text("video,text\n,all the same words\n,all the same words\n")
    assert audit_texts(str(tmp_path / "b.csv"), text="text", group="video")["exact"] == 1  # no group is no common one
    with pytest.raises(UsageError, match="no column 'txt'"):
        audit_texts(str(tmp_path / "a.jsonl"), text="txt", group="video")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--question", "q", "--options", "options", "--answer", "gt", "--out", "page.html"], 0, "report: page.html"),
        (["--text", "q"], 0, "pairs with the same words"),
        (["--question", "q", "--answer", "gt"], 2, "audit takes --question, --options, --answer"),
        (["--text", "q", "--out", "page.html"], 2, "or --text alone"),
        (["--question", "q,gt", "--options", "options", "--answer", "gt"], 2, "means 2 columns"),
        (["--question", "q", "--options", "gt", "--answer", "gt"], 1, "check that --options and --answer name"),
    ],
)
def test_the_command_asks_for_questions_or_for_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    write(tmp_path / "a.csv", biased())
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["audit", "a.csv", "--group", "video", *arguments])
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert code == 0 or result.output.count("\n") == 1
    assert ("--out" in arguments and code == 0) == (tmp_path / "page.html").exists()


def test_half_a_character_does_not_break_the_json(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{**row, "q": "\ud800"} for row in biased(60)])
    columns = [word for name, column in COLUMNS.items() for word in (f"--{name}", column)]
    told = CliRunner().invoke(main, ["audit", str(path), *columns, "--json"])
    assert json.loads(told.output)["n"] == 60


@settings(max_examples=300, deadline=None)
@given(
    texts=st.lists(st.text("abc XAB.,'-012", min_size=1, max_size=12).map(lambda t: f"w{t}w"), min_size=2, max_size=6),
    style=st.sampled_from(["{}. {}\n", "({}) {}\n", "{}) {}\n", "{}: {}\n", "{}.{}\n"]),
)
def test_labelled_lines_are_read_back_whatever_the_options_hold(texts: list[str], style: str) -> None:
    written = "".join(style.format("ABCDEF"[i], t) for i, t in enumerate(texts))
    assert [o.text for o in parse_options(written)] == [" ".join(t.split()) for t in texts]
