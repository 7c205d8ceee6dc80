"""What is compared with what."""

from made_up import signature

from lamar.analysis.pairs import distinct, pairs


def test_signals_are_compared_with_no_signals_and_with_the_same_ones_under_a_control():
    made = {name: signature(name) for name in ("original", "lamar", "placebo")}
    assert pairs(made) == [("lamar", "original"), ("lamar", "placebo")]


def test_other_models_settings_seeds_and_signals_are_not_compared():
    lamar = signature("lamar")
    others = {
        "model": signature("original", model="other"),
        "settings": signature("original", settings={"layers": 3}),
        "seeds": signature("original", seeds=[0, 1, 2]),
        "signals": signature("placebo", signals={"writer": "another"}),
    }
    assert pairs({"lamar": lamar, **others}) == []


def test_the_same_comparison_is_made_once():
    compared = [("lamar", "original"), ("lamar-longer", "original-longer"), ("lamar-longer", "placebo-longer")]
    repeats = {"lamar-longer": "lamar", "original-longer": "original"}
    assert distinct(compared, repeats) == [compared[0], compared[2]]
    assert distinct(compared, {}) == compared
