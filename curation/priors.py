"""What a guesser may use who never sees the video: features of questions and options, and how it picks.

A `Table` holds closed questions as rows, one per option; feature matrices are centred within the item, so that only
what differs between its options is left. Each picker scores rows; `pick` takes the best row of each item.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.errors import DataError
from curation.types import Json

MAX_FAMILIES = 50  # the rest are reported together
EVERYTHING = "everything"
EMPTY = "\N{EMPTY SET}"  # stands for a text without words, for which vectorisers have no row
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

    @property
    def right(self) -> Mask:
        right: Mask = self.place == self.answer[self.item]
        return right


def clean(text: object) -> str:
    return " ".join(str(text).split())


def _codes(values: Sequence[str]) -> tuple[Ints, list[str]]:
    names = sorted(set(values))
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[v] for v in values], dtype=np.int64), names


def make_table(items: Sequence[Mapping[str, Any]]) -> Table:
    for item in items:
        if not 0 <= item["answer"] < len(item["options"]) or len(item["options"]) < 2:
            where = f"item {item['id']!r}"
            raise DataError(f"{where}: answer {item['answer']} of {len(item['options'])} options; give at least two")
    common = {f for f, _ in Counter(clean(item["family"]) for item in items).most_common(MAX_FAMILIES)}
    families = [f if (f := clean(item["family"])) in common else "(other)" for item in items]
    k = np.array([len(item["options"]) for item in items], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(k)[:-1]]).astype(np.int64)
    item_of_row = np.repeat(np.arange(len(items)), k)
    string, strings = _codes([clean(o) for item in items for o in item["options"]])
    question, questions = _codes([clean(item["question"]) for item in items])
    family, family_names = _codes(families)
    group, _ = _codes([str(item["group"]) for item in items])
    place = np.arange(len(item_of_row)) - start[item_of_row]
    answer = np.array([item["answer"] for item in items], dtype=np.int64)
    return Table(
        item_of_row, place, string, strings, question, questions, family, family_names, group, k, start, answer
    )


# --- features ---------------------------------------------------------------------------------------------------------


def _onehot(codes: Ints) -> Any:
    from scipy import sparse

    _, compact = np.unique(codes, return_inverse=True)
    shape = (len(codes), int(compact.max()) + 1)
    return sparse.csr_matrix((np.ones(len(codes), np.float32), (np.arange(len(codes)), compact)), shape=shape)


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

    words = CountVectorizer(token_pattern=r"(?u)\w+|[^\w\s]", binary=True, dtype=np.float32)
    counts = words.fit_transform([q or EMPTY for q in questions])
    share = np.asarray(counts.mean(axis=0)).ravel()
    itself = sparse.identity(len(questions), dtype=np.float32)
    return normalize(sparse.hstack([counts[:, np.flatnonzero(share <= 0.5)], itself], format="csr"))


def word_tfidf(texts: list[str], upto: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = r"(?u)\w+|[^\w\s]"  # punctuation counts: a full stop on right options only is a give-away
    tfidf = TfidfVectorizer(token_pattern=pattern, ngram_range=(1, upto), sublinear_tf=True, dtype=np.float32)
    return tfidf.fit_transform([t or EMPTY for t in texts])


def text_lengths(texts: list[str]) -> Any:
    """Characters and words (logarithms), texts x 2."""
    counts = [[len(t), len(t.split())] for t in texts]
    return np.log1p(np.array(counts, dtype=np.float64))


def _lengths(t: Table) -> Any:
    """Characters and words against the item's mean, the longest, the shortest, and the odd one out."""
    columns = []
    for count in (len, lambda s: len(s.split())):
        n = np.array([count(s) for s in t.strings], dtype=np.float64)[t.string]
        mean = (np.add.reduceat(n, t.start) / t.k)[t.item]
        ratio = np.clip(np.log((n + 1) / (mean + 1)), -2, 2)
        longest, shortest = np.maximum.reduceat(n, t.start)[t.item], np.minimum.reduceat(n, t.start)[t.item]
        columns += [ratio, np.abs(ratio), n == longest, n == shortest]
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
    letter = sparse.hstack([place, _pairs(place, family), _pairs(asked, t.place)])
    lengths, form = sparse.csr_matrix(_lengths(t)), sparse.csr_matrix(_form(t))
    blocks = {
        EVERYTHING: sparse.hstack([option, *crossed, lengths, form, letter]),
        "option text": option,
        "lengths": lengths,
        "form": form,
        "position": place,
        "question and family": letter,
    }
    ones = np.ones(len(t.item), np.float32) / t.k[t.item].astype(np.float32)
    spread = sparse.csr_matrix((np.ones_like(ones), (np.arange(len(ones)), t.item)))
    mean = sparse.csr_matrix((ones, (t.item, np.arange(len(ones)))))
    seen_twice = {name: x.tocsc()[:, np.flatnonzero(x.getnnz(axis=0) > 1)].tocsr() for name, x in blocks.items()}
    return {name: (x - spread @ (mean @ x)).tocsr() for name, x in seen_twice.items()}


# --- picking ---------------------------------------------------------------------------------------------------------


def ridge_scores(t: Table, x: Any, y: Floats, train: Mask) -> Floats:
    """Scores of all rows by a ridge model of the right option, fitted on the items of `train`."""
    from sklearn.linear_model import Ridge

    if not x.shape[1]:  # nothing differs between options
        return np.zeros(len(t.item))
    rows = train[t.item]
    model = Ridge(alpha=PENALTY, solver="lsqr", fit_intercept=False, tol=1e-2).fit(x[rows], y[rows])
    scores: Floats = np.asarray(x @ model.coef_, dtype=np.float64)
    return scores


def lookup_scores(t: Table, train: Mask) -> Floats:
    """Scores of all rows: how often the string was right when offered in `train`, shrunk towards chance."""
    rows = train[t.item]
    seen = np.bincount(t.string[rows], minlength=len(t.strings))
    gain = np.bincount(t.string[rows], (t.right - 1 / t.k[t.item])[rows], minlength=len(t.strings))
    scores: Floats = (gain / (seen + 1))[t.string]
    return scores


def constant_scores(t: Table, train: Mask) -> Floats:
    """Scores of all rows by each family's best constant in `train`: always this position, or always this string."""
    scores = np.zeros(len(t.item))
    for family in range(len(t.families)):
        mine = (t.family == family)[t.item]
        rows = mine & train[t.item]
        if rows.any():
            codes, best = best_constant(t, rows)
            scores[mine] = codes[mine] == best
    return scores


def best_constant(t: Table, rows: Mask) -> tuple[Ints, int]:
    """(codes of all rows, the best code): position or string, whichever gains more right picks over chance."""
    excess = (t.right - 1 / t.k[t.item])[rows]
    gains = [np.bincount(codes[rows], excess) for codes in (t.place, t.string)]
    codes = t.place if gains[0].max() >= gains[1].max() else t.string
    return codes, int(gains[0 if codes is t.place else 1].argmax())


def pick(t: Table, scores: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """(picked position, its lead over the next) per item; what is equal up to rounding is drawn by `rng`."""
    noisy = np.round(scores, 6) + rng.random(len(scores)) * 1e-7
    order = np.lexsort((-noisy, t.item))
    lead = noisy[order[t.start]] - noisy[order[t.start + 1]]
    return t.place[order[t.start]], lead


def fold_masks(t_group: Ints, folds: int, rng: np.random.Generator) -> list[Mask]:
    """Masks of the held-out items: groups are shuffled and dealt to `folds` folds of nearly equal numbers of groups."""
    n_groups = int(t_group.max()) + 1
    fold = rng.permutation(n_groups) % min(folds, n_groups)
    return [(fold == f)[t_group] for f in range(min(folds, n_groups))]


# --- what gives it away ----------------------------------------------------------------------------------------------


def constant_name(t: Table, family: int) -> str:
    codes, best = best_constant(t, (t.family == family)[t.item])
    return f"option {best + 1}" if codes is t.place else t.strings[best]


def string_counts(t: Table) -> Json:
    """Distinct option strings that are right somewhere, wrong somewhere, both; wrong options never right anywhere."""
    right, wrong = np.unique(t.string[t.right]), np.unique(t.string[~t.right])
    never = ~np.isin(t.string[~t.right], right)
    shared = len(np.intersect1d(right, wrong))
    return {
        "right": len(right),
        "wrong": len(wrong),
        "shared": shared,
        "wrong_options_never_right": float(never.mean()),
    }


def telling(t: Table, family: int, top: int = 6) -> list[Json]:
    """Strings and words whose presence tells most: right picks against those expected, as a z score."""
    rows = np.flatnonzero((t.family == family)[t.item])
    offered: Counter[tuple[str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    expected: Counter[tuple[str, str]] = Counter()
    words = {s: sorted(set(re.findall(r"\w+|[^\w\s]", t.strings[s].casefold()))) for s in np.unique(t.string[rows])}
    is_right = t.right
    for row in rows:
        s = t.string[row]
        for key in [("option", t.strings[s]), *(("word", w) for w in words[s] if len(words[s]) > 1)]:
            offered[key] += 1
            right[key] += int(is_right[row])
            expected[key] += 1 / t.k[t.item[row]]
    z = {key: (right[key] - e) / (e * (1 - e / offered[key])) ** 0.5 for key, e in expected.items() if offered[key] > 2}
    best = sorted(z, key=lambda key: (-abs(z[key]), key))[:top]
    return [
        {"kind": kind, "text": text, "offered": offered[kind, text], "right": right[kind, text]}
        | {"expected": round(float(expected[kind, text]), 2), "z": round(float(z[kind, text]), 2)}
        for kind, text in best
    ]


def examples(t: Table, items: Sequence[Mapping[str, Any]], runs: list[Any], hit: Floats, top: int = 3) -> list[Json]:
    """Per family the items picked right by every seed with the greatest lead, each right string once."""
    lead = np.mean([run[2] for run in runs], axis=0)
    out: list[Json] = []
    taken: Counter[int] = Counter()
    seen: set[tuple[int, int]] = set()
    for i in np.argsort(-lead, kind="stable"):
        key = (int(t.family[i]), int(t.string[t.start[i] + t.answer[i]]))
        if hit[i] < 1 or taken[key[0]] >= top or key in seen:
            continue
        taken[key[0]] += 1
        seen.add(key)
        item = items[i]
        out.append(
            {
                "id": str(item["id"]),
                "family": t.families[key[0]],
                "question": str(item["question"]),
                "options": [str(o) for o in item["options"]],
                "answer": int(item["answer"]),
                "lead": round(float(min(lead[i], 1.0)), 3),
            }
        )
    return sorted(out, key=lambda e: (e["family"], -e["lead"]))
