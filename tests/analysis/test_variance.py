"""Intervals over users and seeds, against arithmetic and simulations of models that do not differ."""

import numpy as np
import pytest
from made_up import run_values
from scipy import stats

from lamar.analysis.runs import RunValues
from lamar.analysis.significance import drawn_means, resampled_means
from lamar.analysis.variance import widening
from lamar.params import Significance

CHANCE = Significance(seed=0, resamples=1000, level=0.95)
USERS, SIMULATIONS = 150, 1000


def simulated(name: str, rng: np.random.Generator, seeds: int, of_user: float, of_seed: float) -> RunValues:
    """SIMULATIONS times the same model, a column each: what a user likes of it, what a seed does to it, and noise."""
    shape = (USERS, seeds, SIMULATIONS)
    values = 0.4 + rng.normal(0, 0.1, shape)
    values += of_user * rng.normal(size=(USERS, 1, SIMULATIONS)) + of_seed * rng.normal(size=(1, seeds, SIMULATIONS))
    run = run_values(name, values[..., 0])
    return RunValues(run.run, run.signature, run.users, run.items, values)


def false_alarms(seeds: int, of_user: float, of_seed: float) -> int:
    rng = np.random.default_rng(7)
    runs = [simulated(name, rng, seeds, of_user, of_seed) for name in ("lamar", "original")]
    new, base = drawn_means(runs, resampled_means(runs, CHANCE), CHANCE)
    low, high = np.quantile(new - base, [0.025, 0.975], axis=0)
    return int(((low > 0) | (high < 0)).sum())


# Deviation by seed: none, as much as the mean of 150 users has by noise, and far more than users and noise together.
@pytest.mark.parametrize("of_seed", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("seeds", [3, 5])
def test_false_alarms_are_five_percent_where_users_prefer_one_of_two_equal_models(seeds, of_seed):
    ends = stats.binomtest(false_alarms(seeds, 0.1, of_seed), SIMULATIONS).proportion_ci(0.95)
    assert ends.low <= 0.05 <= ends.high


@pytest.mark.parametrize("of_seed", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("seeds", [3, 5])
def test_false_alarms_are_three_to_five_percent_where_no_user_does(seeds, of_seed):
    """Then the users' own variance is 0, and its estimate, which cannot be less, is too large: wide, never narrow."""
    assert 25 <= false_alarms(seeds, 0.0, of_seed) <= 63  # 6.3% is the end of the binomial interval of 5%


def test_seeds_alone_are_welchs_test():
    """Where all users are alike but for what seeds do to all of them, only the seeds' means count (Welch 1947)."""
    rng = np.random.default_rng(0)
    new, base = (rng.normal(size=(1, seeds, 1)) for seeds in (3, 5))
    tiny = 1e-9 * rng.normal(size=(USERS, 1, 1))  # so that users differ at all
    factor = widening([new + tiny, base - tiny], 0.95)[0]
    by_users = stats.norm.ppf(0.975) * (2 * tiny).std(ddof=1) / np.sqrt(USERS)
    ends = stats.ttest_ind(new.ravel(), base.ravel(), equal_var=False).confidence_interval(0.95)
    assert factor * by_users == pytest.approx((ends.high - ends.low) / 2, rel=1e-4)


def test_seeds_that_change_nothing_add_nothing():
    values = np.repeat(np.random.default_rng(0).normal(size=(USERS, 1, 2)), 3, axis=1)
    assert widening([values], 0.95) == pytest.approx([1, 1], abs=0.01)  # Student's quantile of 149 degrees


def test_what_is_the_same_for_all_is_not_widened():
    assert widening([np.ones((9, 3, 1)), np.zeros((9, 3, 1))], 0.95).tolist() == [1.0]
