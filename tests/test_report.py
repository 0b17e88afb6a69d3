"""The report: what belongs together in results, who won, and by how much."""

from __future__ import annotations

import pytest
from made import ONE, RATES, entry, grid, problem, results, row

from fastconv.conv.measuring import Measured
from fastconv.core.problem import DIRECTIONS
from fastconv.report import grouping, headline, ranking

# What belongs together.


def test_families_differ_in_the_filter_alone():
    alone = [
        problem(8, 7, "forward", stride=(2, 2)),
        problem(8, 7, "forward", S=1, padding=(3, 3, 0, 0)),
        problem(8, 9, "forward", padding=(0, 0, 0, 0)),
        problem(8, 7, "backward_input"),
        problem(8, 7, "forward", dtype="float64"),
        problem(8, 7, "forward", N=4),
        problem(8, 7, "forward", K=9),
    ]
    entries = [*grid(directions=("forward",)).entries, *map(entry, alone)]
    found = grouping.families(reversed(entries))
    assert [(f.channels, list(f.sizes)) for f in found] == [("8", [1, 3, 5]), ("16", [1, 3, 5])]
    assert [f.rest for f in found] == ["2×16×16"] * 2
    (both,) = grouping.grids(entries)
    assert [family.channels for family in both] == ["8", "16"]
    assert grouping.grids(entries[:3]) == []


def test_depthwise_layers_and_unpadded_ones_have_families():
    depthwise = [problem(c, r, groups=c) for c in (8, 16) for r in (3, 5, 7)]
    bare = [problem(8, r, padding=(0, 0, 0, 0), stride=(2, 2)) for r in (3, 5, 7)]
    found = grouping.families(map(entry, depthwise + bare))
    assert [f.rest for f in found] == [
        "2×16×16 depthwise",
        "2×16×16, stride 2",
        "2×16×16 depthwise",
    ]
    assert [len(g) for g in grouping.grids(map(entry, depthwise + bare))] == [2]


def test_passes_are_titled_by_what_differs():
    titles = [group.title for group in grouping.by_pass(reversed(grid().entries))]
    assert titles == list(DIRECTIONS)
    both = [entry(problem(dtype=dtype)) for dtype in ("float32", "float64")]
    assert [g.title for g in grouping.by_pass(both)] == ["forward, float32", "forward, float64"]
    assert grouping.by_pass([]) == []


# Who won.

CONTESTS = [
    ({}, ["winograd", "direct", "torch", "fft"], False),
    ({"torch": row("torch", ONE, 90)}, ["torch", "winograd", "direct", "fft"], False),
    ({"torch": row("torch", ONE, 80.1)}, ["torch", "winograd", "direct", "fft"], True),
    ({"direct": row("direct", ONE, 79.9)}, ["winograd", "direct", "torch", "fft"], True),
    ({"winograd": row("winograd", ONE, 80, 0.3)}, ["winograd", "direct", "torch", "fft"], True),
    ({"winograd": row("winograd", ONE, 80, barred="x")}, ["direct", "torch", "fft"], False),
    ({"winograd4": row("winograd4", ONE, 85)}, ["winograd", "direct", "torch", "fft"], False),
    (
        {"winograd4": row("winograd4", ONE, 85, workspace=9)},
        ["winograd4", "direct", "torch", "fft"],
        False,
    ),
    ({name: Measured(name, "no") for name in RATES}, [], False),
]


@pytest.mark.parametrize(("rows", "order", "doubtful"), CONTESTS)
def test_podium(rows, order, doubtful):
    one = entry(ONE, **rows).measured
    assert [r.algorithm for r in ranking.podium(one)] == order
    assert ranking.uncertain(one) == doubtful


def test_ratio_is_of_the_selectors_choice_and_the_fastest_peer():
    assert ranking.ratio(entry(ONE).measured) == pytest.approx(50 / 40)
    assert ranking.ratio(entry(ONE, chosen="strassen").measured) is None
    assert ranking.ratio(entry(ONE, torch=Measured("torch", "no")).measured) is None


def test_headline():
    three = [
        entry(ONE, {"direct": 80.0, "torch": 40.0}),
        entry(ONE, {"direct": 20.0, "torch": 40.0}),
        entry(problem(direction="backward_input"), {"direct": 40.0, "fft": 160.0}),
    ]
    facts = {fact.name: (fact.value, fact.note) for fact in headline.facts(results(*three))}
    assert facts["peak"] == ("100 GFLOP/s", "multiply-adds alone, 1 thread, avx2")
    assert facts["bandwidth"][0] == "20 GB/s"
    assert facts["forward"] == ("1.00×", "as fast as the fastest peer; ahead on 1 of 2")
    assert "backward_input" not in facts
    assert facts["selector’s regret"][0] == f"{4 ** (1 / 3) - 1:.1%}"
    assert facts["selector’s regret"][1].endswith("300% at worst")
    assert facts["sure winners"][0] == "3 of 3"
    assert facts["disturbed"][0] == "1 of 3"  # 0.9 · 160 of 100 GFLOP/s
