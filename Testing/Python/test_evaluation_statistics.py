"""Paired tests, summaries and intervals against scipy, hand calculations and textbook examples; nothing degenerate raises or passes for a number."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pytest
from evaluation_cohort import made_up_cohort
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.evaluation.intervals import BootstrapSettings, bca_interval, median_interval, percentile_interval
from LiverLesionSegLib.evaluation.paired import PairedSettings, bonferroni, compare_methods, corrected, hodges_lehmann, holm, paired_test
from LiverLesionSegLib.evaluation.resampling import ResamplingSettings, resample_medians
from LiverLesionSegLib.evaluation.results import CaseResult, CohortResult, MethodResult
from LiverLesionSegLib.evaluation.statistics import StatisticsSettings, cohort_statistics, significant
from LiverLesionSegLib.evaluation.summaries import association, bland_altman, grouped, quartiles, sample, size_labels, summarise

# Hamilton's depression scale of nine patients before and after a tranquilliser: Hollander, Wolfe and Chicken (2014), example 3.1.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
FEW = BootstrapSettings(resamples=200)
SHORT = StatisticsSettings(bootstrap=FEW, resampling=ResamplingSettings(repetitions=50))


def cohort_of(values: dict[str, list[float | None]], measure: str = "dice", truth_ml: float = 3.0) -> CohortResult:
    """Cases a, b, c, ... with one measure of each method; None leaves the method out of the case."""
    methods, cases = tuple(values), []
    for n in range(max((len(column) for column in values.values()), default=0)):
        results = tuple(MethodResult(method, measures={measure: column[n]}) for method, column in values.items() if column[n] is not None)
        cases.append(CaseResult(chr(97 + n), truth_ml=truth_ml, results=results))
    return CohortResult(tuple(cases), methods)


def test_the_textbook_example() -> None:
    found = paired_test(BEFORE, AFTER)
    assert (found.n, found.zeros, found.statistic, found.how) == (9, 0, 40.0, "exact")
    assert found.p == pytest.approx(20 / 512)  # 0.0195 one-sided in the book
    assert found.median_difference == pytest.approx(0.46)
    assert (found.low, found.high) == (pytest.approx(0.01), pytest.approx(0.786))
    assert found.confidence == pytest.approx(1 - 20 / 512)
    assert found.rank_biserial == pytest.approx((40 - 5) / 45)


@pytest.mark.parametrize("n", [5, 12, 40])
def test_exact_p_is_that_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.3, 1, n), rng.normal(0, 1, n)
    assert paired_test(a, b).p == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue, rel=1e-12)


@pytest.mark.parametrize("zeros", ["wilcoxon", "pratt"])
def test_exact_p_with_ties_and_zeros_counts_all_signs(zeros: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(8):
        a, b = rng.integers(0, 5, 11) / 10, rng.integers(0, 5, 11) / 10
        found = paired_test(a, b, PairedSettings(zeros=zeros))
        d = np.rint(10 * (a - b))
        ranks = stats.rankdata(np.abs(d))[d != 0] if zeros == "pratt" else stats.rankdata(np.abs(d[d != 0]))
        sums = [float(np.dot(ranks, signs)) for signs in product((0, 1), repeat=len(ranks))]
        observed = float(ranks[d[d != 0] > 0].sum())
        tails = np.mean(np.array(sums) <= observed + 1e-9), np.mean(np.array(sums) >= observed - 1e-9)
        assert found.p == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-12)
        assert found.zeros == np.count_nonzero(d == 0)


@pytest.mark.parametrize("zeros", ["wilcoxon", "pratt"])
def test_large_cohorts_take_the_normal_approximation_of_scipy(zeros: str) -> None:
    rng = np.random.default_rng(4)
    a, b = np.round(rng.normal(0.1, 1, 400), 1), np.round(rng.normal(0, 1, 400), 1)
    found = paired_test(a, b, PairedSettings(zeros=zeros))
    expected = stats.wilcoxon(np.rint(10 * (a - b)), zero_method={"wilcoxon": "wilcox"}.get(zeros, zeros), correction=True, method="approx")
    assert found.how == "normal approximation"
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.tied > 0
    assert found.zeros > 0


def test_the_normal_approximation_meets_the_exact_p() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.2, 1, 90), rng.normal(0, 1, 90)
    assert paired_test(a, b).p == pytest.approx(paired_test(a, b, PairedSettings(exact_up_to=10)).p, rel=0.02)


def test_decimals_tie_as_on_paper() -> None:
    found = paired_test([0.3, 0.2, 0.9], [0.2, 0.1, 0.5])
    assert found.tied == 2
    assert paired_test([0.1 + 0.2], [0.3]).zeros == 1


def test_interval_of_the_median_difference_inverts_the_test() -> None:
    rng = np.random.default_rng(6)
    d = rng.normal(0.5, 1, 14)
    centre, low, high, confidence, _ = hodges_lehmann(d)
    assert low < centre < high
    assert confidence >= 0.95
    for shift, inside in ((low + 1e-6, True), (low - 1e-6, False), (high - 1e-6, True), (high + 1e-6, False)):
        assert (stats.wilcoxon(d - shift, method="exact").pvalue > 1 - confidence + 1e-12) == inside
    wide = hodges_lehmann(d[:4])
    assert wide[3] == pytest.approx(1 - 2 / 16)
    assert (wide[1], wide[2]) == (d[:4].min(), d[:4].max())
    many = hodges_lehmann(rng.normal(0.5, 1, 300))
    assert many[3] == pytest.approx(0.95, abs=0.001)
    assert many[2] - many[1] == pytest.approx(2 * 1.96 / math.sqrt(300) * math.sqrt(math.pi / 3), rel=0.15)
    assert math.isnan(hodges_lehmann(np.arange(5000.0))[0])


def test_holm_and_bonferroni_by_hand() -> None:
    p = [0.010, 0.040, 0.030, 0.005]
    assert bonferroni(p) == pytest.approx([0.04, 0.16, 0.12, 0.02])
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04 x 1 held up to 0.06
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == bonferroni([]) == []


def test_families() -> None:
    one = replace(paired_test(BEFORE, AFTER), measure="dice", p=0.02)
    none = replace(one, p=math.nan)
    tests = [one, replace(one, p=0.01), none, replace(one, measure="rvd", p=0.03)]
    by_measure = corrected(tests)
    assert [test.family for test in by_measure] == [2, 2, 0, 1]
    assert by_measure[1].p_bonferroni == pytest.approx(0.02)
    assert by_measure[3].p_holm == pytest.approx(0.03)
    assert math.isnan(by_measure[2].p_holm)
    assert [test.family for test in corrected(tests, PairedSettings(family="all"))] == [3, 3, 0, 3]
    assert significant(by_measure[1]) is True
    assert significant(by_measure[1], correction="bonferroni", alpha=0.01) is False
    assert significant(none) is None
    with pytest.raises(InputError, match="no correction"):
        significant(one, correction="tukey")


FLOATS = st.integers(-30, 30).map(lambda n: n / 8)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 14), st.just(2)), elements=FLOATS), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_sides_mirror(pairs: np.ndarray, random: object) -> None:
    a, b = pairs.T
    found, turned = paired_test(a, b), paired_test(b, a)
    order = list(range(len(a)))
    random.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_equal(asdict(paired_test(a[order], b[order])), asdict(found))
    np.testing.assert_allclose(turned.p, found.p, equal_nan=True)
    np.testing.assert_allclose(turned.rank_biserial, -found.rank_biserial, equal_nan=True)
    np.testing.assert_allclose([turned.low, turned.high], [-found.high, -found.low], equal_nan=True)
    assert (turned.positive, turned.negative, turned.zeros) == (found.negative, found.positive, found.zeros)
    assert not found.p > 1
    assert bool(found.reason) == math.isnan(found.p)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, st.integers(2, 12), elements=FLOATS, unique=True), st.sampled_from([-1.0, 2.0, 7.5]))
def test_effects_move_with_their_unit(differences: np.ndarray, factor: float) -> None:
    found, scaled = hodges_lehmann(differences), hodges_lehmann(factor * differences)
    expected = [found[0], *found[1:3][:: -1 if factor < 0 else 1]]
    np.testing.assert_allclose(scaled[:3], factor * np.array(expected))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([], [], "No pair"),
        ([0.5], [0.4], "alone"),
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "None of the 3 pairs differs"),
        ([math.nan, math.nan], [0.1, 0.2], "No pair"),
        ([math.inf, 0.2], [0.1, 0.2], "alone"),
    ],
)
def test_degenerate_pairs_say_why(first: list[float], second: list[float], reason: str) -> None:
    found = paired_test(first, second)
    assert math.isnan(found.p)
    assert math.isnan(found.rank_biserial)
    assert reason in found.reason
    assert len(found.left_out) == len(first) - found.n


def test_unequal_lengths_and_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="2 values against 1"):
        paired_test([1, 2], [1])
    for bad in ({"zeros": "split"}, {"family": "none"}, {"alpha": 0.0}, {"confidence": 1.0}):
        with pytest.raises(InputError):
            PairedSettings(**bad)
    with pytest.raises(InputError, match="resamples"):
        BootstrapSettings(resamples=0)
    with pytest.raises(InputError, match="no measure"):
        StatisticsSettings(measures=("dise",))


def test_few_pairs_say_what_they_cannot_show() -> None:
    found = paired_test([1, 2, 3, 4, 5], [0, 0, 0, 0, 0])
    assert found.p == pytest.approx(2 / 32)
    assert "below 0.0625" in found.note
    assert paired_test([1, 2, 3, 4, 5, 6], [0] * 6).note == ""


def test_pairs_left_out_are_named_with_their_reasons() -> None:
    cohort = cohort_of({"a": [0.5, 0.6, None, math.nan], "b": [0.4, None, None, 0.3]})
    cases = [*cohort.cases, CaseResult("lost", error="lost.nrrd: does not exist.")]
    cases[3] = replace(cases[3], results=(replace(cases[3].results[0], undefined={"dice": "Both are empty."}), cases[3].results[1]))
    (test,) = compare_methods(replace(cohort, cases=tuple(cases)), ["dice"])
    assert test.n == 1
    assert test.left_out == {
        "b": "b: The method was not run on this case.",
        "c": "The method was not run on this case.",
        "d": "a: Both are empty.",
        "lost": "lost.nrrd: does not exist.",
    }


def test_quartiles_and_the_column_without_zeros() -> None:
    cohort = cohort_of({"full": [0.0, 0.0, 0.4, 0.6, 0.7], "none": [math.nan] * 5})
    whole = summarise(cohort, ["dice"], FEW)["full"]["dice"]
    assert (whole.low, whole.median, whole.high, whole.n) == (0.0, 0.4, 0.6, 5)
    without = summarise(cohort, ["dice"], FEW, without_zeros=True)["full"]["dice"]
    assert (without.low, without.median, without.high, without.n) == (pytest.approx(0.5), 0.6, pytest.approx(0.65), 3)
    assert without.left_out == {"a": "Its Dice is 0.", "b": "Its Dice is 0."}
    nothing = summarise(cohort, ["dice"], FEW)["none"]["dice"]
    assert math.isnan(nothing.median)
    assert nothing.reason == "No value is defined."
    assert sample(cohort, "none", "dice").left_out["a"] == "Its Dice is undefined."


def test_interval_of_the_median_is_that_of_all_resamples() -> None:
    values = [0.9, 0.1, 0.5, 0.7, 0.2]
    every = [np.median(drawn) for drawn in product(values, repeat=5)]
    found = median_interval(values, BootstrapSettings(resamples=20_000))
    assert (found.low, found.high) == tuple(np.quantile(every, [0.025, 0.975]))
    assert found == median_interval(values[::-1], BootstrapSettings(resamples=20_000))
    even = median_interval([1.0, 2.0, 4.0, 8.0], BootstrapSettings(resamples=20_000))
    every = [np.median(drawn) for drawn in product([1.0, 2.0, 4.0, 8.0], repeat=4)]
    assert (even.low, even.high) == tuple(np.quantile(every, [0.025, 0.975]))


def test_bca_is_that_of_scipy() -> None:
    rng = np.random.default_rng(8)
    values = rng.exponential(size=25)
    drawn = np.random.default_rng(1).choice(values, (9999, 25)).mean(axis=1)
    expected = stats.bootstrap(
        (values,), np.mean, bootstrap_result=stats.bootstrap((values,), np.mean, n_resamples=9999, rng=1), n_resamples=0, method="BCa"
    )
    without = np.array([np.delete(values, n).mean() for n in range(25)])
    found = bca_interval(float(values.mean()), expected.bootstrap_distribution, without, BootstrapSettings(resamples=9999))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval), rel=1e-3)
    near = bca_interval(float(values.mean()), drawn, without, BootstrapSettings(resamples=9999))
    assert (near.low, near.high) == pytest.approx(tuple(expected.confidence_interval), rel=0.03)


def test_intervals_of_nothing_say_why() -> None:
    assert "alone" in median_interval([0.5], FEW).reason
    assert median_interval([0.5], FEW).estimate == 0.5
    assert "No value" in median_interval([math.nan, math.inf], FEW).reason
    same = median_interval([0.5] * 6, FEW)
    assert (same.low, same.high, same.reason) == (0.5, 0.5, "")
    assert "half of the resamples" in percentile_interval(0.5, np.array([math.nan, math.nan, 0.5]), 3, FEW).reason
    assert "itself" in bca_interval(math.nan, np.ones(9), np.ones(9), FEW).reason
    flat = bca_interval(0.5, np.full(9, 0.5), np.full(9, 0.5), FEW)
    assert (flat.low, flat.high) == (0.5, 0.5)
    beyond = bca_interval(2.0, np.linspace(0, 1, 99), np.linspace(1.9, 2.1, 9), FEW)
    assert math.isfinite(beyond.low)
    assert beyond.low <= beyond.high


def test_groups_by_echogenicity_and_size() -> None:
    cases = [
        CaseResult("a", {"echogenicity": "hypo"}, truth_ml=1.0),
        CaseResult("b", {"echogenicity": "hyper"}, truth_ml=2.0),
        CaseResult("c", {}, truth_ml=30.0),
        CaseResult("d", {"echogenicity": "none"}, truth_ml=0.0),
        CaseResult("e", {"echogenicity": "hypo"}, truth_ml=1.0, error="left out"),
    ]
    cohort = CohortResult(tuple(cases), ("m",))
    names = {label: [case.case for case in part.cases] for label, part in grouped(cohort).items()}
    assert names == {"hyper": ["b"], "hypo": ["a"], "none": ["d"], "not stated": ["c"]}
    sizes = {label: [case.case for case in part.cases] for label, part in grouped(cohort, "size").items()}
    assert sizes == {"below 2 mL": ["a"], "2 to 10 mL": ["b"], "10 mL and more": ["c"], "no lesion": ["d"]}
    assert size_labels((5.0,)) == ["below 5 mL", "5 mL and more"]


def test_bland_altman_by_hand() -> None:
    cases = [CaseResult(name, truth_ml=truth, results=(MethodResult("m", measures={"volume_ml": volume}),))
             for name, truth, volume in (("a", 1.0, 2.0), ("b", 4.0, 4.0), ("c", 8.0, 4.0))]  # fmt: skip
    found = bland_altman(CohortResult(tuple(cases), ("m",)), "m")
    sd = math.sqrt((4 + 1 + 9) / 2)
    assert (found.n, found.bias, found.sd) == (3, -1.0, pytest.approx(sd))
    assert (found.lower, found.upper) == (pytest.approx(-1 - 1.96 * sd), pytest.approx(-1 + 1.96 * sd))
    t = stats.t.ppf(0.975, 2)
    assert found.bias_interval == pytest.approx((-1 - t * sd / math.sqrt(3), -1 + t * sd / math.sqrt(3)))
    assert found.upper_interval[1] - found.upper == pytest.approx(t * sd * math.sqrt(1 / 3 + 1.96**2 / 4))
    assert found.ratio == pytest.approx(1.0)
    assert found.ratio_limits == pytest.approx((2**-1.96, 2**1.96))
    assert (found.means["c"], found.differences["c"]) == (6.0, -4.0)
    alone = bland_altman(CohortResult((cases[0],), ("m",)), "m")
    assert "alone" in alone.reason
    assert alone.bias == 1.0
    assert "No case" in bland_altman(CohortResult((), ("m",)), "m").reason
    no_truth = bland_altman(CohortResult((replace(cases[0], truth_ml=math.nan), *cases[1:]), ("m",)), "m")
    assert no_truth.left_out == {"a": "The volume of its truth is undefined."}


def test_association_is_spearmans() -> None:
    cohort = made_up_cohort()
    found = association(cohort, "Region growing", "dice", "truth_ml")
    pairs = [(case.of("Region growing").measures["dice"], case.truth_ml) for case in cohort.evaluated if not case.of("Region growing").error]
    expected = stats.spearmanr(*np.array(pairs).T)
    assert (found.n, found.rho, found.p) == (19, pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert "at least 3" in association(cohort_of({"m": [0.1, 0.2]}), "m", "dice", "truth_ml").reason
    with pytest.raises(InputError, match="no property"):
        association(cohort, "Region growing", "dice", "case")
    assert "the same" in association(cohort_of({"m": [0.1, 0.2, 0.3]}), "m", "dice", "truth_ml").reason


def test_everything_goes_to_json_and_twice_the_same() -> None:
    cohort = made_up_cohort()
    found = cohort_statistics(cohort, SHORT)
    text = json.dumps(asdict(found))
    assert text == json.dumps(asdict(cohort_statistics(cohort, SHORT)))
    assert found.n == 20
    assert set(found.groups) == {"echogenicity", "size"}
    assert len(found.tests) == 13 * 6
    backwards = cohort_statistics(replace(cohort, cases=cohort.cases[::-1]), SHORT)
    for one, other in zip(found.tests, backwards.tests, strict=True):
        np.testing.assert_equal(asdict(one), asdict(other))
    np.testing.assert_equal(asdict(found.resampled), asdict(backwards.resampled))


@pytest.mark.parametrize("cohort", [CohortResult((), ()), CohortResult((), ("a", "b")), cohort_of({"a": [0.5], "b": [0.6]}),
                                    cohort_of({"a": [math.nan] * 3, "b": [math.nan] * 3}), cohort_of({"a": [0.5] * 3, "b": [0.5] * 3})])  # fmt: skip
def test_degenerate_cohorts_give_reasons_not_errors(cohort: CohortResult) -> None:
    found = cohort_statistics(cohort, SHORT)
    json.dumps(asdict(found))
    for test in found.tests:
        assert math.isnan(test.p)
        assert test.reason
    assert all(quartile.reason for by in found.summary.values() for quartile in by.values() if math.isnan(quartile.median))


def test_quartiles_are_numpys() -> None:
    values = np.random.default_rng(2).normal(size=23)
    found = quartiles([*values, math.nan], FEW)
    assert [found.low, found.median, found.high] == pytest.approx(np.percentile(values, [25, 50, 75]))


def test_medians_over_random_splits() -> None:
    # Of three cases two are tested, so the medians are the means of the three pairs, each as likely.
    cohort = cohort_of({"one": [0.0, 0.2, 0.6], "two": [0.1, 0.1, 0.1], "gap": [0.5, None, None]})
    found = resample_medians(cohort, ["dice", "volume_ml"], ResamplingSettings(repetitions=3000))
    one = found.medians["one"]["dice"]
    assert (found.cases, found.tested, one.n) == (3, 2, 3000)
    assert one.mean == pytest.approx((0.1 + 0.3 + 0.4) / 3, abs=0.01)
    assert (one.p2_5, one.median, one.p97_5) == (pytest.approx(0.1), pytest.approx(0.3), pytest.approx(0.4))
    assert found.medians["two"]["dice"].sd == pytest.approx(0.0)
    assert found.better["dice"]["one > two"] == pytest.approx((0.5 + 1 + 1) / 3, abs=0.03)
    # Where `gap` has a value it lies above `two` and, of the first case alone, above `one`.
    assert found.better["dice"]["one > gap"] == 0.0
    assert found.medians["gap"]["dice"].n == pytest.approx(2000, abs=100)
    assert "volume_ml" not in found.better
    assert found.medians["one"]["volume_ml"].reason
    assert "at least 2" in resample_medians(cohort_of({"one": [0.5]})).reason


def test_a_measure_where_less_is_better() -> None:
    cohort = cohort_of({"near": [1.0, 2.0, 3.0], "far": [5.0, 6.0, 7.0]}, "hd95_mm")
    assert resample_medians(cohort, ["hd95_mm"]).better["hd95_mm"]["near > far"] == 1.0
