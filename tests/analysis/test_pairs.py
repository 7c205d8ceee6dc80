"""What is compared with what."""

from made_up import signature

from lamar.analysis.pairs import pairs


def test_signals_are_compared_with_no_signals_and_with_the_same_ones_under_a_control():
    made = {name: signature(name) for name in ("original", "lamar", "placebo")}
    assert pairs(made) == [("lamar", "original"), ("lamar", "placebo")]


def test_other_models_settings_and_signals_are_not_compared():
    lamar = signature("lamar")
    others = {
        "model": signature("original", model="other"),
        "settings": signature("original", settings={"layers": 3}),
        "signals": signature("placebo", signals={"writer": "another"}),
    }
    assert pairs({"lamar": lamar, **others}) == []
