"""The text-prior probe on sets whose truth is known: fair ones, and ones with one planted cue each."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from curation.errors import DataError
from curation.neardup import near_duplicates
from curation.probe import BELOW_CHANCE, PERMUTED, conclude, probe_asked, probe_class, probe_closed, scores

POOL = ["red car", "blue van", "green bus", "white truck", "a cyclist", "two pedestrians", "dry road", "wet road"]


def fair(n: int, *, k: int = 4, seed: int = 0, per_group: int = 4) -> list[dict[str, Any]]:
    """Blocks of k questions over the same k options, each right in one: every string is right in 1/k of its offers."""
    rng = random.Random(seed)
    items: list[dict[str, Any]] = []
    while len(items) < n:
        offered = rng.sample(POOL, k)
        for right in offered:
            options = rng.sample(offered, k)
            items.append({"question": "What is ahead?", "options": options, "answer": options.index(right)})
    rng.shuffle(items)
    return [
        item | {"id": str(i), "group": f"v{i // per_group}", "family": f"f{i % 2}"} for i, item in enumerate(items[:n])
    ]


def test_fair_set_is_clean_in_every_feature_set_and_family() -> None:
    result = probe_closed(fair(2400))
    assert result["verdict"] == "clean", result["because"]
    assert result["chance"] == 0.25
    assert (result["n"], result["groups"]) == (2400, 600)
    assert not [name for name, s in result["by_features"].items() if s["verdict"] == "leaks"]
    assert result["interval"][0] <= result["accuracy"] <= result["interval"][1]
    assert set(result["by_family"]) == {"f0", "f1"}
    json.dumps(result, allow_nan=False)  # plain data all through


def test_a_string_that_is_right_too_often_leaks_and_is_named() -> None:
    items = fair(600)
    for item in items:
        if item["family"] == "f1" and "wet road" in item["options"]:
            item["answer"] = item["options"].index("wet road")
    result = probe_closed(items)
    assert result["by_family"]["f1"]["verdict"] == "leaks"
    assert result["by_family"]["f0"]["verdict"] != "leaks"
    clue = result["telling"]["f1"][0]
    assert (clue["text"], clue["right"]) == ("wet road", clue["offered"])
    assert result["by_features"][PERMUTED]["verdict"] != "leaks"
    assert all(items[int(e["id"])]["answer"] == e["answer"] for e in result["examples"])


@pytest.mark.parametrize(
    ("cue", "expected"),
    [("position", "position"), ("longest", "lengths"), ("full stop", "form"), ("echo", "form")],
)
def test_one_planted_cue_is_found_by_the_feature_set_of_its_name(cue: str, expected: str) -> None:
    items = fair(600, seed=3)
    rng = random.Random(1)
    for item in items:
        right = item["answer"]
        if cue == "position" and rng.random() < 0.4:
            options = item["options"]
            options[2], options[right] = options[right], options[2]
            item["answer"] = 2
        filler = [" ".join(rng.choices("abcdefgh", k=3)) for _ in range(4)]  # no string twice: no vocabulary to learn
        if cue == "longest":
            item["options"] = [f + (" x y z" if i == right else " x") for i, f in enumerate(filler)]
        if cue == "full stop":
            item["options"] = [f + ("." if i == right else ",") for i, f in enumerate(filler)]
        if cue == "echo":
            words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(4)]
            item["options"] = words
            item["question"] = f"Is it {words[right]}?"
    result = probe_closed(items)
    assert result["verdict"] == "leaks"
    assert result["by_features"][expected]["verdict"] == "leaks"
    others = {"position", "lengths", "form"} - {expected}
    assert not [f for f in others if result["by_features"][f]["verdict"] == "leaks"]


def test_one_leaking_family_makes_the_whole_leak_and_a_blank_family_is_one_too() -> None:
    items = fair(1200)
    for item in items:
        item["family"] = "" if int(item["id"]) % 12 == 0 else "rest"
        if not item["family"]:
            item["answer"] = item["options"].index(min(item["options"]))
    result = probe_closed(items)
    assert result["by_family"][""]["n"] == 100
    assert result["n"] == 1200
    assert (result["by_family"][""]["verdict"], result["verdict"]) == ("leaks", "leaks")
    if "family" in result["because"]:
        assert result["because"] == "family ''"


def test_of_many_families_none_leaks_by_luck() -> None:
    items = fair(2000, seed=4)
    for item in items:
        item["family"] = f"f{int(item['id']) % 40}"
    result = probe_closed(items)
    assert result["verdict"] != "leaks", result["because"]


def test_a_string_right_for_one_question_only_is_found_though_no_string_is_favoured() -> None:
    rng = random.Random(5)
    items = []
    for i in range(900):
        options = rng.sample(["yes", "no"], 2)
        asked = i % 3
        right = {0: "yes", 1: "no", 2: options[0]}[asked]
        question = ["Does it rain?", "Is it night?", "Is the road wet?"][asked]
        items.append({"id": str(i), "question": question, "options": options, "answer": options.index(right)})
        items[-1] |= {"group": f"v{i // 3}", "family": "yes/no"}
    result = probe_closed(items)
    assert result["by_features"]["option text"]["accuracy"] < 0.6
    assert result["verdict"] == "leaks"
    assert result["accuracy"] > 0.8


def test_permuted_answers_bring_a_leaking_set_to_chance() -> None:
    items = [item | {"options": ["right " + item["question"], "b", "c", "d"], "answer": 0} for item in fair(2400)]
    for item, order in zip(items, fair(2400, seed=9), strict=True):
        item["options"] = [item["options"][i] for i in random.Random(order["id"]).sample(range(4), 4)]
        item["answer"] = next(i for i, o in enumerate(item["options"]) if o.startswith("right"))
    result = probe_closed(items)
    assert result["accuracy"] == 1.0
    assert result["interval"][0] == pytest.approx(0.025 ** (1 / 600))  # Clopper-Pearson, all of 600 groups right
    permuted = result["by_features"][PERMUTED]
    assert permuted["interval"][0] <= 0.25 + 0.03
    assert permuted["verdict"] != "leaks"


def test_few_groups_show_nothing_however_good_the_guess() -> None:
    items = [item | {"options": ["yes", "no"], "answer": 0} for item in fair(400, per_group=20)]
    result = probe_closed(items)
    assert result["groups"] == 20
    assert result["verdict"] == "not shown"
    assert "20 groups" in result["because"]
    assert probe_closed(items[:20])["accuracy"] is None
    assert probe_closed([])["verdict"] == "not shown"


def test_intervals_are_those_of_groups_not_of_items() -> None:
    """400 items in 100 groups that agree within: the standard error is sqrt(p (1 - p) / 100), not / 400."""
    hit = np.repeat(np.arange(100) % 4 == 0, 4).astype(np.float64)
    for group, units in ((np.repeat(np.arange(100), 4), 100), (np.arange(400), 400)):
        scored = scores({"x": hit}, np.full(400, 0.25), group, replicates=2000)["x"]
        half = (scored["interval"][1] - scored["interval"][0]) / 2
        assert half == pytest.approx(1.96 * (0.25 * 0.75 / units) ** 0.5, rel=0.1)
        assert scored["accuracy"] == 0.25


def test_what_a_group_repeats_is_not_learned_from_the_group() -> None:
    """Each video asks its own question four times; who has seen one of the four knows the others."""
    rng = random.Random(2)
    items = []
    for i in range(400):
        strings = [f"{i // 4} {c}" for c in "abcd"]
        options = rng.sample(strings, 4)
        right = random.Random(i // 4).choice(strings)
        items.append({"id": str(i), "question": f"What of {i // 4}?", "options": options, "family": "f"})
        items[-1] |= {"answer": options.index(right), "group": f"v{i // 4}"}
    assert probe_closed(items)["accuracy"] < 0.4
    split = [item | {"group": f"v{i}"} for i, item in enumerate(items)]
    assert probe_closed(split)["accuracy"] > 0.9


def test_weights_balance_the_classes() -> None:
    hit, weights = np.repeat([1.0, 0.0], [90, 10]), np.repeat([1 / 90, 1 / 10], [90, 10])
    scored = scores({"x": hit}, np.full(100, 0.5), np.arange(100), weights=weights)["x"]
    assert scored["accuracy"] == pytest.approx(0.5)  # nine in ten are right, but of one class only
    assert scored["interval"][0] < 0.5 < scored["interval"][1]


def test_many_tests_need_more_to_conclude_a_leak() -> None:
    """38 of 100 right where 28 (chance and margin) are the limit: 2.1 standard errors of .0485, not 3.5."""
    hit = (np.arange(100) < 38).astype(np.float64)
    arguments = (np.full(100, 0.25), np.arange(100))
    alone = scores({"x": hit}, *arguments, replicates=4000)["x"]
    among_many = scores({"x": hit}, *arguments, tests=100, replicates=4000)["x"]
    assert (alone["verdict"], among_many["verdict"]) == ("leaks", "not shown")
    assert alone["interval"] == among_many["interval"]


def test_ties_are_broken_by_the_seed_not_by_the_position() -> None:
    items = [
        item | {"options": [f"{item['id']} {i}" for i in range(4)], "answer": 0, "question": "?"} for item in fair(600)
    ]
    found = probe_closed(items)["by_features"]
    assert found["position"]["accuracy"] == 1.0
    assert abs(found["form"]["accuracy"] - 0.25) < 0.06  # the options are of one form: all tie


def test_number_of_options_may_vary_and_chance_is_the_mean_of_one_in_k() -> None:
    items = fair(300, k=4) + [i | {"id": "b" + i["id"], "group": "b" + i["group"]} for i in fair(300, k=2)]
    result = probe_closed(items)
    assert result["chance"] == pytest.approx(0.375)
    assert abs(result["accuracy"] - 0.375) < 0.08


def test_the_same_items_give_the_same_result_in_whatever_order_of_groups() -> None:
    items = fair(400)
    first = probe_closed(items)
    assert probe_closed(items) == first
    renamed = [item | {"id": "x" + item["id"]} for item in items]
    assert probe_closed(renamed)["accuracy"] == first["accuracy"]


def test_an_answer_outside_the_options_is_refused_by_item() -> None:
    items = fair(40)
    items[7]["answer"] = 4
    with pytest.raises(DataError, match="item '7'"):
        probe_closed(items)


@pytest.mark.parametrize(
    ("low", "high", "groups", "verdict", "word"),
    [
        (0.04, 0.10, 50, "leaks", "at least"),
        (-0.02, 0.03, 50, "clean", "at most"),
        (0.01, 0.05, 50, "not shown", "in between"),
        (-0.05, 0.09, 50, "not shown", "too few"),
        (0.40, 0.60, 29, "not shown", "29 groups"),
    ],
)
def test_verdicts(low: float, high: float, groups: int, verdict: str, word: str) -> None:
    said, because = conclude(low, high, 100, groups)
    assert said == verdict
    assert word in because


# --- classes ----------------------------------------------------------------------------------------------------------


def test_class_told_by_the_question_side() -> None:
    rng = random.Random(0)
    classes = [rng.choice(["collision"] * 8 + ["normal", "near_collision"]) for _ in range(900)]
    groups = [str(i // 2) for i in range(900)]
    neutral = [f"What happens after second {rng.randint(1, 9)}?" for _ in classes]
    fair = probe_class(neutral, classes, groups)
    assert fair["verdict"] != "leaks"
    assert fair["accuracy"] < 0.4  # balanced over classes: 80 % collisions are no leak
    told = [t if c != "collision" else t.replace("happens", "is struck") for t, c in zip(neutral, classes, strict=True)]
    result = probe_class(told, classes, groups)
    assert result["verdict"] == "leaks"
    assert result["chance"] == pytest.approx(1 / 3)
    assert result["accuracy"] > 0.6
    shuffled = random.Random(1).sample(classes, len(classes))
    assert probe_class(told, shuffled, groups)["verdict"] != "leaks"
    assert probe_class(["a"], ["x"], ["g"])["accuracy"] is None
    alone = probe_class(["a b", "c d", "a b"], ["x", "y", "x"], ["g", "h", "g"])  # each fold learns one class only
    assert (alone["accuracy"], alone["verdict"]) == (0.0, "not shown")


# --- near copies ------------------------------------------------------------------------------------------------------


def test_copies_and_near_copies_are_found_with_their_true_similarity() -> None:
    rng = random.Random(0)
    words = [f"w{i}" for i in range(2000)]
    texts = {f"t{i:03}": " ".join(rng.choices(words, k=40)) for i in range(300)}
    texts["copy"] = texts["t010"].upper() + "."
    near = texts["t020"].split()
    near[20] = "changed"
    texts["near"] = " ".join(near)
    texts["empty"] = texts["blank"] = " "
    found = near_duplicates(texts)
    assert [(a, b) for a, b, _ in found] == [("copy", "t010"), ("near", "t020")]
    assert found[0][2] == 1.0
    assert found[1][2] == pytest.approx(35 / 41)  # 38 shingles of three words, three of them changed: 35 / (38 + 3)


def test_many_copies_cost_a_linear_number_of_pairs_and_link_up() -> None:
    texts = {f"{i:03}": f"the same long text about one red car and a wet road {i % 2}" for i in range(200)}
    found = near_duplicates(texts, 0.5)
    linked = {i for pair in found for i in pair[:2]}
    assert linked == set(texts)
    assert len(found) < 2 * len(texts)


def test_short_texts_compare_by_characters() -> None:
    assert near_duplicates({"a": "sunny day", "b": "sunny  Day."}) == [("a", "b", 1.0)]
    assert near_duplicates({"a": "turns left", "b": "turns right"}, 0.5) == near_duplicates({"a": "", "b": ""}) == []


# -- a language model without frames ---------------------------------------------------------------------------------
def test_a_model_that_knows_the_answers_leaks_and_one_that_draws_does_not() -> None:
    items = [i | {"question": f"{i['question']} ({i['id']})"} for i in fair(1200)]
    answers = {i["question"]: i["options"][i["answer"]] for i in items}
    seen: list[str] = []

    def reply(prompt: str, knows: bool) -> str | None:
        seen.append(prompt)
        lines = prompt.split("\n")
        asked = next(line for line in lines if line in answers)
        options = {line[0]: line[3:] for line in lines if re.match(r"[A-D]\. ", line)}
        drawn = random.Random(asked).choice("ABCD")
        pick = next(k for k, o in options.items() if o == answers[asked]) if knows else drawn
        return f"{pick}. {options[pick]}\nbecause" if len(asked) % 2 else f"({pick})"

    told = probe_asked(items, lambda prompts: [reply(p, True) for p in prompts])
    assert (told["verdict"], told["accuracy"], told["unread"], told["groups"]) == ("leaks", 1.0, 0, 300)
    drawn = probe_asked(items, lambda prompts: [reply(p, False) for p in prompts])
    assert drawn["verdict"] != "leaks" and abs(drawn["accuracy"] - 0.25) < 0.04
    assert set(drawn["by_family"]) == {"f0", "f1"}
    firsts = Counter(answers[q] == o for p in seen[:1200] for q, o in re.findall(r"\n\n(.*)\n\nA\. (.*)\n", p))
    assert firsts.total() == 1200 and 240 < firsts[True] < 360  # shuffled: the right one comes first in a quarter


@pytest.mark.parametrize(("k", "right", "verdict"), [(2, 0.3, "leaks"), (2, 0.5, "clean"), (4, 0.0, "leaks")])
def test_a_model_that_picks_what_is_wrong_tells_the_answer_too(k: int, right: float, verdict: str) -> None:
    items = fair(4000, k=k, per_group=2)

    def reply(n: int, prompt: str) -> str:
        options = {line[3:]: line[0] for line in prompt.split("\n") if re.match(r"[A-D]\. ", line)}
        truth = items[n]["options"][items[n]["answer"]]
        chosen = truth if random.Random(n).random() < right else next(o for o in options if o != truth)
        return options[chosen]

    told = probe_asked(items, lambda prompts: [reply(n, p) for n, p in enumerate(prompts)])
    assert (told["verdict"], told["accuracy"]) == (verdict, pytest.approx(right, abs=0.03))
    assert ("avoiding" in told["because"]) == (verdict == "leaks")


def test_pairs_balanced_across_videos_are_below_chance_and_no_leak() -> None:
    """Each question is asked of two videos, right once with yes and once with no: what was learned is always wrong."""
    items = []
    for i in range(400):
        first = random.Random(i // 2).randrange(2)
        items.append({"id": str(i), "question": f"Is thing {i // 2} there?", "options": ["yes", "no"], "family": "f"})
        items[-1] |= {"answer": (first + i) % 2, "group": f"v{(i // 2 * 7 + i % 2 * 101) % 200}"}
    result = probe_closed(items)
    assert result["verdict"] == "clean" and result["excess"][1] < -0.3
    assert result["notes"] == [BELOW_CHANCE]


def test_replies_that_name_no_option_count_as_draws() -> None:
    silent = probe_asked(fair(400), lambda prompts: [None, "I cannot tell."] * 200)
    assert (silent["unread"], silent["accuracy"], silent["verdict"]) == (400, 0.25, "not shown")
    assert "400 of 400 replies name no option" in silent["because"]
    assert probe_asked(fair(4), lambda prompts: ["A"] * 4)["verdict"] == "not shown"
