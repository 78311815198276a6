"""What a guesser may use who never sees the video: features of questions and options, and how it picks.

A `Table` holds closed questions as rows, one per option; feature matrices are centred within the item, so that only
what differs between its options is left. Each picker scores rows; `pick` takes the best row of each item.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.errors import DataError
from curation.types import Json

MAX_FAMILIES = 50  # the rest are reported together
EVERYTHING, CONSTANT, PERMUTED = "everything", "best constant", "permuted answers"
FOLDS = 5
EMPTY = "\N{EMPTY SET}"  # stands for a text without words, for which vectorisers have no row
WORD = r"\w+|[^\w\s]"  # punctuation counts: a full stop on right options only is a give-away
PENALTY = 1.0  # of the ridge; text rows have length about 1

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """Items as rows of options: arrays over rows (one per option) unless said otherwise."""

    item: Ints  # item number
    place: Ints  # position in the item
    string: Ints  # number of the option's text in `strings`
    strings: list[str]
    question: Ints  # per item: number of the question in `questions`
    questions: list[str]
    family: Ints  # per item
    families: list[str]
    group: Ints  # per item
    k: Ints  # per item: number of options
    start: Ints  # per item: its first row
    answer: Ints  # per item: the right position
    right: Mask  # is this row the right one?


def clean(text: object) -> str:
    return " ".join(str(text).split())


def _codes(values: Sequence[str]) -> tuple[Ints, list[str]]:
    names, codes = np.unique(np.array(values, dtype=object), return_inverse=True)
    return codes, names.tolist()


def make_table(items: Sequence[Mapping[str, Any]]) -> Table:
    """Raises DataError for an item with fewer than two options or an answer outside them."""
    for item in items:
        if not 0 <= item["answer"] < len(item["options"]) or len(item["options"]) < 2:
            n = len(item["options"])
            raise DataError(f"item {item['id']!r}: answer {item['answer']} of {n} options; give at least two")
    families = [clean(item["family"]) for item in items]
    common = dict(Counter(families).most_common(MAX_FAMILIES))
    k = np.array([len(item["options"]) for item in items], dtype=np.int64)
    start = np.cumsum(k) - k
    item_of_row = np.repeat(np.arange(len(items)), k)
    string, strings = _codes([clean(o) for item in items for o in item["options"]])
    question, questions = _codes([clean(item["question"]) for item in items])
    family, names = _codes([f if f in common else "(other)" for f in families])
    group = _codes([str(item["group"]) for item in items])[0]
    place = np.arange(len(item_of_row)) - start[item_of_row]
    answer = np.array([item["answer"] for item in items], dtype=np.int64)
    right = place == answer[item_of_row]
    return Table(
        item_of_row, place, string, strings, question, questions, family, names, group, k, start, answer, right
    )


# --- features ---------------------------------------------------------------------------------------------------------


def _onehot(codes: Ints) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(dtype=np.float32).fit_transform(codes[:, None])


def _pairs(left: Any, right: Ints) -> Any:
    """Columns "feature of `left` and code of `right`" for the rows of the sparse matrix `left`."""
    from scipy import sparse

    left = left.tocsr()
    row = np.repeat(np.arange(left.shape[0]), np.diff(left.indptr))
    pair = left.indices.astype(np.int64) * (int(right.max()) + 1) + right[row]
    columns, compact = np.unique(pair, return_inverse=True)
    return sparse.csr_matrix((left.data, (row, compact)), shape=(left.shape[0], len(columns)), dtype=np.float32)


def _asked(questions: list[str]) -> Any:
    """The question itself and the words that tell it from others: an instruction all of them carry is left out."""
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    words = CountVectorizer(token_pattern=WORD, binary=True, dtype=np.float32)
    counts = words.fit_transform([q or EMPTY for q in questions])
    share = np.asarray(counts.mean(axis=0)).ravel()
    itself = sparse.identity(len(questions), dtype=np.float32)
    return normalize(sparse.hstack([counts[:, np.flatnonzero(share <= 0.5)], itself], format="csr"))


def word_tfidf(texts: list[str], upto: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    tfidf = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, upto), sublinear_tf=True, dtype=np.float32)
    return tfidf.fit_transform([t or EMPTY for t in texts])


def _lengths(t: Table) -> Any:
    """Characters and words against the item's mean, the longest, the shortest, and the odd one out."""
    columns = []
    for count in (len, lambda s: len(s.split())):
        n = np.array([count(s) for s in t.strings])[t.string]
        mean, longest, shortest = (f.reduceat(n, t.start) for f in (np.add, np.maximum, np.minimum))
        ratio = np.clip(np.log((n + 1) / (mean / t.k + 1)[t.item]), -2, 2)
        columns += [ratio, np.abs(ratio), n == longest[t.item], n == shortest[t.item]]
    return np.stack(columns, axis=1).astype(np.float32)


def _form(t: Table) -> Any:
    """Capitals, closing punctuation, digits, and words shared with the question: form without vocabulary."""
    of_string = np.array(
        [[s[:1].isupper(), s[-1:] in ".!?", s[-1:].isalnum(), any(c.isdigit() for c in s), "," in s] for s in t.strings]
    )[t.string]
    words = [set(re.findall(r"\w{3,}", s.casefold())) for s in t.strings]
    asked = [set(re.findall(r"\w{3,}", q.casefold())) for q in t.questions]
    questions = t.question[t.item]
    shared = [len(words[s] & asked[q]) / max(len(words[s]), 1) for s, q in zip(t.string, questions, strict=True)]
    return np.column_stack([of_string, shared]).astype(np.float32)


def features(t: Table) -> dict[str, Any]:
    """Sparse matrices, rows x features, centred within the item: only what differs between its options is left."""
    from scipy import sparse

    single = word_tfidf(t.strings, 1)[t.string]
    option = sparse.hstack([word_tfidf(t.strings, 2)[t.string], _onehot(t.string)], format="csr")
    question, family = t.question[t.item], t.family[t.item]
    asked = _asked(t.questions)[question]
    crossed = [_pairs(asked, t.string), _pairs(single, question), _pairs(single, family)]
    place = _onehot(t.place)
    rest = {
        "lengths": sparse.csr_matrix(_lengths(t)),
        "form": sparse.csr_matrix(_form(t)),
        "position": sparse.hstack([place, _pairs(place, family), _pairs(asked, t.place)]),
    }
    blocks = {EVERYTHING: sparse.hstack([option, *crossed, *rest.values()]), "option text": option, **rest}
    spread = _onehot(t.item)
    mean = sparse.diags_array(1 / t.k, dtype=np.float32) @ spread.T
    seen_twice = {name: x.tocsc()[:, np.flatnonzero(x.getnnz(axis=0) > 1)].tocsr() for name, x in blocks.items()}
    return {name: (x - spread @ (mean @ x)).tocsr() for name, x in seen_twice.items()}


# --- picking ---------------------------------------------------------------------------------------------------------


def guess(t: Table, blocks: dict[str, Any], seed: int) -> tuple[dict[str, Floats], Floats]:
    """One seed: hits (0 or 1 per item) by feature set, and the lead of the picks made from everything."""
    rng = np.random.default_rng(seed)
    drawn = (rng.random(len(t.k)) * t.k).astype(np.int64)
    rated = {name: np.zeros(len(t.item)) for name in [*blocks, CONSTANT, PERMUTED]}
    chance = 1 / t.k[t.item]
    for test in fold_masks(t.group, rng):
        rows, train = test[t.item], ~test
        for name, x in blocks.items():
            rated[name][rows] = ridge_scores(t, x, t.right - chance, train)[rows]
        rated[CONSTANT][rows] = constant_scores(t, train)[rows]
        shuffled = (t.place == drawn[t.item]) - chance
        rated[PERMUTED][rows] = ridge_scores(t, blocks[EVERYTHING], shuffled, train)[rows]
    picks = {name: pick(t, s, rng) for name, s in rated.items()}
    hits = {n: (p[0] == (drawn if n == PERMUTED else t.answer)).astype(np.float64) for n, p in picks.items()}
    return hits, picks[EVERYTHING][1]


def ridge_scores(t: Table, x: Any, y: Floats, train: Mask) -> Floats:
    """Scores of all rows by a ridge model of the right option, fitted on the items of `train`."""
    from sklearn.linear_model import Ridge

    if not x.shape[1]:  # nothing differs between options
        return np.zeros(len(t.item))
    rows = train[t.item]
    model = Ridge(alpha=PENALTY, solver="lsqr", fit_intercept=False, tol=1e-2).fit(x[rows], y[rows])
    scores: Floats = np.asarray(x @ model.coef_, dtype=np.float64)
    return scores


def constant_scores(t: Table, train: Mask) -> Floats:
    """Scores of all rows by each family's best constant in `train`: always this position, or always this string,
    whichever gains more right picks over chance."""
    scores = np.zeros(len(t.item))
    excess = t.right - 1 / t.k[t.item]
    for family in range(len(t.families)):
        mine = (t.family == family)[t.item]
        rows = mine & train[t.item]
        if rows.any():
            gains = [(np.bincount(codes[rows], excess[rows]), codes) for codes in (t.place, t.string)]
            gain, codes = max(gains, key=lambda g: g[0].max())
            scores[mine] = codes[mine] == gain.argmax()
    return scores


def pick(t: Table, scores: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """(picked position, its lead over the next) per item; what is equal up to rounding is drawn by `rng`."""
    noisy = np.round(scores, 6) + rng.random(len(scores)) * 1e-7
    order = np.lexsort((-noisy, t.item))
    lead = noisy[order[t.start]] - noisy[order[t.start + 1]]
    return t.place[order[t.start]], lead


def fold_masks(t_group: Ints, rng: np.random.Generator) -> list[Mask]:
    """Masks of the held-out items: groups are shuffled and dealt to `FOLDS` folds of nearly equal numbers of groups."""
    n_groups = int(t_group.max()) + 1
    folds = min(FOLDS, n_groups)
    fold = rng.permutation(n_groups) % folds
    return [(fold == f)[t_group] for f in range(folds)]


# --- what gives it away ----------------------------------------------------------------------------------------------


def telling(t: Table, family: int, top: int = 6) -> list[Json]:
    """Options and words whose presence tells most: right picks against those expected, as a z score."""
    having: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in np.flatnonzero((t.family == family)[t.item]):
        text = t.strings[t.string[row]]
        words = set(re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text.casefold()))
        for key in [("option", text), *(("word", w) for w in words if len(words) > 1)]:
            having[key].append(row)
    found: list[Json] = []
    for (kind, text), rows in sorted(having.items()):
        if len(rows) > 2:
            n, right, expected = len(rows), int(t.right[rows].sum()), float((1 / t.k[t.item[rows]]).sum())
            z = (right - expected) / (expected * (1 - expected / n)) ** 0.5
            clue = {"kind": kind, "text": text, "offered": n, "right": right}
            found.append(clue | {"expected": round(expected, 2), "z": round(z, 2)})
    clues: list[Json] = []
    for clue in sorted(found, key=lambda c: -abs(c["z"])):
        same = [c for c in clues if (c["offered"], c["right"]) == (clue["offered"], clue["right"])]
        if clue["kind"] == "option" or not any(clue["text"] in c["text"].casefold() for c in same):  # told already
            clues.append(clue)
    return clues[:top]


def examples(t: Table, items: Sequence[Mapping[str, Any]], lead: Floats, hit: Floats, top: int = 2) -> list[Json]:
    """Per family the items picked right by every seed (`hit` 1) with the greatest lead, each right string once."""
    out: list[Json] = []
    taken: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for i in np.argsort(-lead, kind="stable"):
        item, family = items[i], t.families[t.family[i]]
        right = family, clean(item["options"][item["answer"]])
        if hit[i] == 1 and taken[family] < top and right not in seen:
            taken[family] += 1
            seen.add(right)
            told = {"id": str(item["id"]), "family": family, "question": str(item["question"])}
            out.append(told | {"options": [str(o) for o in item["options"]], "answer": int(item["answer"])})
    return sorted(out, key=lambda e: e["family"])
