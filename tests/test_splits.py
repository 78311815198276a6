from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from curation.splits import assign

WEIGHTS = {"train": 0.7, "validation": 0.15, "test": 0.15}
corpora = st.dictionaries(
    st.integers(0, 400).map(lambda i: f"c{i}"),
    st.tuples(st.integers(0, 40).map(lambda i: f"g{i}"), st.sampled_from(["collision", "near_collision", "normal"])),
    min_size=1,
)


def _plan(corpus: dict[str, tuple[str, str]], ledger: dict[str, str], seed: int = 0) -> dict[str, str]:
    plan = assign({c: g for c, (g, _) in corpus.items()}, {c: k for c, (_, k) in corpus.items()}, WEIGHTS, ledger, seed)
    assert plan.split.keys() | plan.withdrawn.keys() == corpus.keys()
    return plan.split


@given(corpora)
def test_no_group_straddles_splits(corpus: dict[str, tuple[str, str]]) -> None:
    where = defaultdict(set)
    for clip, split in _plan(corpus, {}).items():
        where[corpus[clip][0]].add(split)
    assert all(len(s) == 1 for s in where.values())


@given(corpora, corpora)
def test_what_was_assigned_stays(old: dict[str, tuple[str, str]], more: dict[str, tuple[str, str]]) -> None:
    first = _plan(old, {})
    second = _plan({**more, **old}, first)
    assert all(second[c] == s for c, s in first.items() if c in second and old[c] == {**more, **old}[c])


@given(corpora)
def test_order_of_arrival_does_not_matter(corpus: dict[str, tuple[str, str]]) -> None:
    assert _plan(corpus, {}) == _plan(dict(reversed(corpus.items())), {})


def test_classes_are_spread_by_share() -> None:
    corpus = {f"c{g}_{i}": (f"g{g}", k) for g in range(100) for i, k in enumerate(("collision", "normal", "normal"))}
    split = _plan(corpus, {})
    counts = Counter((s, corpus[c][1]) for c, s in split.items())
    assert counts["train", "collision"] == 70
    assert counts["test", "collision"] == 15
    assert counts["validation", "normal"] == 30


def test_a_new_link_across_splits_withdraws_the_training_clip() -> None:
    groups = {"a": "merged", "b": "merged", "new": "merged"}
    plan = assign(groups, dict.fromkeys(groups, "normal"), WEIGHTS, {"a": "train", "b": "test"}, 0)
    assert plan.split == {"b": "test", "new": "test"}
    assert list(plan.withdrawn) == ["a"]
    assert "was in train" in plan.withdrawn["a"]
