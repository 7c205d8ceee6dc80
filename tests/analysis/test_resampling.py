"""The bootstrap, the randomisation test and Holm's correction, against scipy, arithmetic and simulations."""

import numpy as np
import pytest
from scipy import stats

from lamar.analysis import resampling
from lamar.analysis.resampling import bootstrap_means, holm, interval, randomisation

RNG = np.random.default_rng


def test_the_bootstrap_agrees_with_scipy():
    values = RNG(1).exponential(size=(400, 1))
    ours = interval(bootstrap_means(values, 10_000, seed=0)[:, 0], 0.95)
    theirs = stats.bootstrap((values[:, 0],), np.mean, n_resamples=10_000, method="percentile", rng=RNG(2))
    width = ours[1] - ours[0]
    assert ours[0] == pytest.approx(theirs.confidence_interval.low, abs=0.04 * width)
    assert ours[1] == pytest.approx(theirs.confidence_interval.high, abs=0.04 * width)


def test_columns_share_their_resamples_so_a_constant_shift_has_no_variance():
    values = RNG(0).normal(size=(50, 1))
    means = bootstrap_means(np.hstack([values, values + 2]), 500, seed=0)
    assert np.ptp(means[:, 1] - means[:, 0]) < 1e-12
    assert np.ptp(means[:, 0]) > 0.1


def test_results_hang_on_the_seed_and_not_on_the_size_of_the_blocks(monkeypatch):
    values = RNG(0).normal(size=(64, 3))
    means, p = bootstrap_means(values, 300, seed=4), randomisation(values, 300, seed=4)
    assert not np.array_equal(means, bootstrap_means(values, 300, seed=5))
    monkeypatch.setattr(resampling, "BLOCK", 7 * 64)
    assert np.allclose(bootstrap_means(values, 300, seed=4), means)
    assert np.array_equal(randomisation(values, 300, seed=4), p)


@pytest.mark.parametrize("case", range(5))
def test_the_exact_randomisation_test_agrees_with_scipy(case):
    differences = np.round(RNG(case).normal(0.3, 1, size=(9, 1)), 1)  # rounded: ties of sums are frequent
    theirs = stats.permutation_test(
        (differences[:, 0],), lambda x, axis: np.sum(x, axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert randomisation(differences, 512, seed=0)[0] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_random_randomisation_test_agrees_with_scipy():
    differences = RNG(3).normal(0.12, 1, size=(200, 1))
    theirs = stats.permutation_test(
        (differences[:, 0],),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        rng=RNG(1),
    )
    assert randomisation(differences, 20_000, seed=0)[0] == pytest.approx(theirs.pvalue, abs=0.01)


def test_no_difference_at_all_is_a_p_value_of_one_and_none_is_zero():
    assert randomisation(np.zeros((30, 1)), 1000, seed=0)[0] == 1
    assert randomisation(np.ones((300, 1)), 999, seed=0)[0] == pytest.approx(1 / 1000)


def false_alarms_fit_five_percent(alarms: int, simulations: int) -> bool:
    """Whether 5% lies inside the binomial 95% interval of the share of false alarms."""
    ends = stats.binomtest(alarms, simulations).proportion_ci(0.95)
    return ends.low <= 0.05 <= ends.high


def test_false_alarms_of_the_randomisation_test():
    nothing = RNG(11).laplace(size=(150, 1000))  # one column, one simulation of two equal systems
    assert false_alarms_fit_five_percent((randomisation(nothing, 5000, seed=0) < 0.05).sum(), 1000)


def test_false_alarms_of_the_bootstrap_interval():
    nothing = RNG(12).laplace(size=(150, 1000))
    ends = np.quantile(bootstrap_means(nothing, 5000, seed=0), [0.025, 0.975], axis=0)
    assert false_alarms_fit_five_percent(((ends[0] > 0) | (ends[1] < 0)).sum(), 1000)


def test_a_planted_effect_is_found():
    planted = RNG(13).laplace(0.5, size=(150, 200))
    assert (randomisation(planted, 2000, seed=0) < 0.05).mean() > 0.95


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1, 1])
    assert holm(np.array([])).size == 0
