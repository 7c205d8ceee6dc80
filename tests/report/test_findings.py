"""docs/findings.md says what metrics/ say: every number of it is computed here, or is a setting."""

import re
from pathlib import Path

import polars as pl
import pytest

from lamar.files import read_json, sha256_of
from lamar.report.evidence import Evidence, read_evidence
from lamar.report.words import mean, percent, signed

TABLES = re.compile("<!-- table:.*?<!-- /table -->", re.DOTALL)  # which test_tables.py compares
FINDINGS = " ".join(TABLES.sub("", Path("docs/findings.md").read_text()).split())
CONTROLS = ("placebo", "random-words", "description", "signal-only")
BASES = ("original", *CONTROLS)
RUNS = {name: f"recformer-{name}-products" for name in ("lamar", *BASES)}
TESTED = ("ndcg@10", "recall@10", "mrr")
# Numbers that are no results: levels, sizes of models and texts, names, the groups' edges, revisions.
SETTINGS = {"95%", "Qwen2.5", "1.5B", "16", "32", "96", "256", "1", "5", "5%", "bfloat16", "S3"}
# Kept signals of `scientific`, shorter descriptions, none at all; items without signals, users whose targets they are.
TEXTS = (4208, 686, 155, 177, 318)
SETTINGS |= {"4", "208", "686", "155", "177", "318"}
SETTINGS |= {"11", "041", "327"}  # of 11,041 and 5,327, what the paper counts
SETTINGS |= {
    "3",
    "8",
    "33",
    "19",
    "2.5%",
    "2.4%",
    "2.9%",
}  # seeds, epochs, minutes, and gains that stand above with intervals
SETTINGS |= {"1M", "1m", "H100", "50"}  # names, and epochs
STARTS = {"MiniLM": "recformer-{}-products", "MiniLM, then games": "recformer-games-{}"}
STARTS |= {"MiniLM, then `scientific`": "recformer-own-{}"}
WHOLE = {name: f"recformer-{name}-whole" for name in ("original", "lamar", "placebo")}
OTHERS = {"UniSRec": "unisrec-{}-products", "UniSRec with ids": "unisrec-ids-{}-products"}
OTHERS |= {"ZESRec": "zesrec-{}-products", "S3-Rec": "s3rec-{}-products"}
ELSEWHERE = {"games": "unisrec-{}", "ml-1m-storylines": "unisrec-{}-films"}
SMALL = [f"recformer-small-{settings}-{name}" for settings in ("original", "lamar") for name in ("original", "lamar")]
TWO_SETTINGS = {name: f"recformer-small-{name}-{{}}" for name in ("original", "lamar")}


@pytest.fixture(scope="module")
def products() -> Evidence:
    return read_evidence(Path(), "scientific")


def metrics(dataset: str, run: str) -> dict[str, float]:
    return read_json(Path("metrics", dataset, "full", f"{run}.json"))


def pair(evidence: Evidence, run: str, against: str) -> dict:
    return next(one for one in evidence.pairs if (one["run"], one["against"]) == (run, against))


def change(found: dict, bold: bool = False) -> str:
    ends = found["relative"]
    text = f"{percent(ends['value'])} ({percent(ends['low'])} to {percent(ends['high'])})"
    return f"**{text}**" if bold and found["significant"] else text


def groups(products: Evidence) -> pl.DataFrame:
    return products.buckets.filter(metric="ndcg@10").with_columns(pl.col("against").fill_null(""))


def group(products: Evidence, name: str, run: str, against: str = "") -> dict:
    """NDCG@10 by how often training has the target."""
    return groups(products).filter(by="popularity", bucket=name, run=run, against=against).row(0, named=True)


def group_row(products: Evidence, name: str) -> str:
    own = [f"{group(products, name, RUNS[run])['value']:.4f}" for run in ("original", "lamar")]
    against = [group(products, name, RUNS["lamar"], RUNS[base]) for base in ("original", "placebo", "random-words")]
    differences = [f"{signed(one['value'])} ({signed(one['low'])} to {signed(one['high'])})" for one in against]
    users = f"{against[0]['users']:,}"
    return f"| {' | '.join([name, users, *own, *differences])} |"


def gained(run: str, against: str, metric: str = "ndcg@10") -> str:
    return percent(metrics("scientific", run)[metric] / metrics("scientific", against)[metric] - 1)


def start_row(products: Evidence, name: str, run: str, seeds: int) -> str:
    """NDCG@10 of a model without and with signals, and what they change."""
    lamar, original = run.format("lamar"), run.format("original")
    own = [mean(metrics("scientific", one), "ndcg@10", seeds) for one in (original, lamar)]
    return f"| {name} | {' | '.join(own)} | {change(pair(products, lamar, original)['ndcg@10'], bold=True)} |"


def pretrained_phrases(products: Evidence) -> list[str]:
    """What must stand about pre-training and the paper's two settings."""
    own, games, small = STARTS["MiniLM, then `scientific`"], STARTS["MiniLM, then games"], TWO_SETTINGS
    rare, by_games = (group(products, "1–5", run.format("lamar"), run.format("original")) for run in (own, games))
    without = group(products, "1–5", RUNS["lamar"], RUNS["original"])
    upper_left = small["original"].format("original")
    p = pair(products, small["lamar"].format("lamar"), small["lamar"].format("original"))["ndcg@10"]["p_holm"]
    return [
        *(start_row(products, name, run, 3) for name, run in STARTS.items()),
        *(start_row(products, f"settings of `{name}`", run, 1) for name, run in small.items()),
        f"{gained(own.format('original'), RUNS['original'])} for `original` and "
        f"{gained(own.format('lamar'), RUNS['lamar'])} for `lamar`",
        f"is {signed(rare['value'])} ({signed(rare['low'])} to {signed(rare['high'])}) after pre-training",
        f"where it was {signed(without['value'])} ({signed(without['low'])} to {signed(without['high'])}) without",
        f"After games it is {signed(by_games['value'])} ({signed(by_games['low'])} to {signed(by_games['high'])}).",
        f"is {gained(small['lamar'].format('lamar'), upper_left)}; the other settings alone, without signals, change "
        f"{gained(small['lamar'].format('original'), upper_left)}.",
        f"the difference is significant (p = {p:.2f})",
    ]


def whole_phrases(products: Evidence) -> list[str]:
    """What must stand about Recformers whose layers were all trained."""
    own = [mean(metrics("scientific", run), "ndcg@10", 3) for run in WHOLE.values()]
    lamar, original, placebo = WHOLE["lamar"], WHOLE["original"], WHOLE["placebo"]
    changes = [change(pair(products, lamar, base)["ndcg@10"], True) for base in (original, placebo)]
    rare = [group(products, "1–5", lamar, base) for base in (original, placebo)]
    differences = [f"{signed(one['value'])} ({signed(one['low'])} to {signed(one['high'])})" for one in rare]
    few, all_ = metrics("scientific", RUNS["original"]), metrics("scientific", original)
    return [
        f"| {' | '.join([*own, *changes])} |",
        f"gains {gained(original, RUNS['original'])[1:].split('.')[0]}%; that the signal adds anything is not shown.** "
        f"`original` goes from "
        f"{few['ndcg@10']:.4f} to {all_['ndcg@10']:.4f}, Recall@10 from {few['recall@10']:.4f} to "
        f"{all_['recall@10']:.4f}.",
        f"`lamar` − `original` is {differences[0]} and `lamar` − `placebo` {differences[1]}:",
    ]


def gains(dataset_gains: dict, metrics_: tuple[str, ...]) -> list[float]:
    """Relative differences of the paper's systems with signals from its Recformer."""
    base = dataset_gains["Recformer"]
    with_signals = [values for name, values in dataset_gains.items() if name.startswith("LaMAR")]
    return [values[name] / base[name] - 1 for values in with_signals for name in metrics_ if name in values]


def phrases(products: Evidence) -> list[str]:
    """What must stand in the text, as the metrics have it."""
    of = {name: metrics("scientific", run) for name, run in (RUNS | {"sasrec": "sasrec-products"}).items()}
    movies = read_evidence(Path(), "ml-100k")
    placebos = [metrics("ml-100k", run)["ndcg@10"] for run in ("recformer-placebo", "recformer-placebo-converged")]
    statistics = read_json(Path("metrics/scientific/statistics.json"))
    own = {name: mean(metrics("scientific", run), "ndcg@10", 3) for name, run in RUNS.items()}
    rare = group(products, "1–5", RUNS["description"])["value"]
    among = groups(products).filter(pl.col("run").is_in(RUNS.values()))
    differences = among.filter(~pl.col("against").is_in(["", RUNS["signal-only"]]))
    excluding = differences.filter((pl.col("low") > 0) | (pl.col("high") < 0))
    by_chance = 0.05 * differences.height
    by_llm = sorted(gains(products.paper["systems"], ("ndcg@10",)))
    domains = [read_evidence(Path(), name).paper["systems"] for name in products.rated["datasets"]]
    everywhere = [gain for domain in domains for gain in gains(domain, tuple(domain["Recformer"]))]
    p = pair(products, RUNS["lamar"], RUNS["placebo"])["recall@10"]["p_holm"]
    return [
        f"({statistics['users']:,} users, {statistics['items']:,} items, 3 seeds)",
        f"(`original`), that and the signal (`lamar`), or one of the [controls](evidence.md): "
        f"NDCG@10 of {own['original']}, "
        f"{own['lamar']} and, with the signal of another item (`placebo`), {own['placebo']}.",
        *(
            f"| `{base}` | {' | '.join(change(pair(products, RUNS['lamar'], RUNS[base])[m], True) for m in TESTED)} |"
            for base in BASES
        ),
        f"Recall@10 against the placebo, has p = {p:.2f}.",
        f"another item's signal reach NDCG@10 of {own['random-words']} and {own['placebo']}; "
        f"`original` has {own['original']}.",
        f"as far as can be seen**: {own['description']}, with",
        f"Alone (`signal-only`) it reaches {own['signal-only']}.",
        f"reaches a mean of {rare:.4f}, whose",
        *(group_row(products, name) for name in ("0", "1–5", "6–20", "> 20")),
        f"for the {differences.height} differences of NDCG@10 between these six on groups (`signal-only` not counted), "
        f"of which {excluding.height} intervals exclude zero; "
        f"chance alone would let {int(by_chance)} or {int(by_chance) + 1}.",
        f"NDCG@10 {mean(of['sasrec'], 'ndcg@10', 3)} and MRR {of['sasrec']['mrr']:.4f}, above these Recformers",
        f"Recall@10 ({mean(of['sasrec'], 'recall@10', 3)}) is below `lamar`'s {mean(of['lamar'], 'recall@10', 3)}.",
        f"are {percent(by_llm[0])} and {percent(by_llm[1])} in NDCG@10 over Recformer",
        f"go from {percent(min(everywhere))} to {percent(max(everywhere))}.",
        f"(ml-100k, {movies.significance['users']} users, one seed)",
        f"against `original` {change(pair(movies, 'recformer-lamar', 'recformer-original')['ndcg@10'])}, against",
        f"`placebo` {change(pair(movies, 'recformer-lamar', 'recformer-placebo')['ndcg@10'])}.",
        *(
            f"by {change(pair(movies, f'{model}-lamar', f'{model}-original')['ndcg@10'])}"
            for model in ("unisrec", "s3rec", "zesrec")
        ),
        f"falls from {placebos[0]:.4f} to {placebos[1]:.4f}, so that",
        f"{change(pair(movies, 'recformer-lamar-converged', 'recformer-placebo-converged')['ndcg@10'])} above it",
    ]


def other_row(products: Evidence, name: str, run: str) -> str:
    """Without signals, with them, and what that changes."""
    own = [mean(metrics("scientific", run.format(features)), "ndcg@10", 3) for features in ("original", "lamar")]
    found = pair(products, run.format("lamar"), run.format("original"))
    changes = [change(found[metric], bold=True) for metric in ("ndcg@10", "recall@10")]
    return f"| {' | '.join([name, *own, *changes])} |"


def other_phrases(products: Evidence) -> list[str]:
    """What must stand about the other models."""
    lamar, original, placebo = (OTHERS["UniSRec"].format(name) for name in ("lamar", "original", "placebo"))
    rare = group(products, "1–5", lamar, original)
    against = group(products, "1–5", lamar, placebo)
    before, after, by_chance = (group(products, "1–5", run)["value"] for run in (original, lamar, placebo))
    games = group(read_evidence(Path(), "games"), "1–5", "unisrec-lamar", "unisrec-original")
    bert = metrics("scientific", "bert4rec-products")
    return [
        *(other_row(products, name, run) for name, run in OTHERS.items()),
        f"{mean(metrics('scientific', placebo), 'ndcg@10', 3)}; `lamar` is "
        f"{change(pair(products, lamar, placebo)['ndcg@10'])} above it",
        f"For ZESRec that is {of_placebo(products, 'ZESRec')}",
        f"({mean(metrics('scientific', OTHERS['S3-Rec'].format('placebo')), 'ndcg@10', 3)}), "
        f"{of_placebo(products, 'S3-Rec')}",
        f"UniSRec goes from {before:.4f} to {after:.4f}, with the placebo to {by_chance:.4f}",
        f"`lamar` − `original` is {signed(rare['value'])} ({signed(rare['low'])} to {signed(rare['high'])}), "
        f"and `lamar` − `placebo` {signed(against['value'])} ({signed(against['low'])} to {signed(against['high'])})",
        f"on games it is {signed(games['value'])} ({signed(games['low'])} to {signed(games['high'])})",
        f"BERT4Rec has {mean(bert, 'ndcg@10', 3)}",
    ]


def of_placebo(products: Evidence, model: str) -> str:
    lamar, placebo = (OTHERS[model].format(name) for name in ("lamar", "placebo"))
    return change(pair(products, lamar, placebo)["ndcg@10"])


def elsewhere_row(dataset: str) -> str:
    """Sizes, NDCG@10 of one seed, and what the signals change."""
    counted = read_json(Path("metrics", dataset, "statistics.json"))
    kept = read_json(Path("metrics", dataset, "qwen-coder/quality.json"))["kept"]
    evidence = read_evidence(Path(), dataset)
    cells = [f"`{dataset}`", *(f"{count:,}" for count in (counted["users"], counted["items"], kept))]
    cells += [f"{metrics(dataset, run)['ndcg@10']:.4f}" for run in ("popularity", "sasrec")]
    for run in ("recformer-{}-products", ELSEWHERE[dataset]):
        lamar, original = run.format("lamar"), run.format("original")
        cells += [f"{metrics(dataset, one)['ndcg@10']:.4f}" for one in (original, lamar)]
        cells.append(change(pair(evidence, lamar, original)["ndcg@10"], bold=True))
    return f"| {' | '.join(cells)} |"


def elsewhere_phrases() -> list[str]:
    """What must stand about other catalogues."""
    rare = group(read_evidence(Path(), "games"), "1–5", RUNS["lamar"], RUNS["original"])
    films = read_json(Path("metrics/ml-1m-storylines/qwen-coder/quality.json"))
    repeated, alike = (films["dropped"][name] for name in ("repeats the prompt", "says the same of unlike items"))
    return [
        *(elsewhere_row(dataset) for dataset in ("games", "ml-1m-storylines")),
        f"`lamar` − `original` is {signed(rare['value'])} ({signed(rare['low'])} to {signed(rare['high'])}), where",
        f"of the {films['items']:,} answers {repeated} repeat an example of the prompt and {alike} say the same",
    ]


def text_counts(signals: pl.DataFrame) -> tuple[int, ...]:
    items, split = (pl.read_parquet(f"data/prepared/scientific/{name}.parquet") for name in ("items", "split"))
    kept = signals.filter("kept").join(items, on="item_id")
    described = kept["description"].fill_null("").str.count_matches(r"\S+")
    shorter = described < kept["signal"].str.count_matches(r"\S+")
    without = items.filter(~pl.col("item_id").is_in(kept["item_id"].implode()))
    users = split["test"].is_in(without["item"].implode()).sum()
    return kept.height, shorter.sum(), (described == 0).sum(), without.height, users


def test_every_number_is_that_of_the_metrics(products):
    left = FINDINGS
    of_products = (pretrained_phrases, phrases, whole_phrases, other_phrases)
    for phrase in (*(phrase for part in of_products for phrase in part(products)), *elsewhere_phrases()):
        assert phrase in left, phrase
        left = left.replace(phrase, "")
    numbers = {word.strip(".,:;()*`|") for word in re.findall(r"[\w.@%]*\d[\w.@%]*", left)}
    metric_names = {"NDCG@10", "Recall@10"}
    assert numbers - metric_names == SETTINGS


def test_what_is_said_in_words_is_so(products):
    of = {name: metrics("scientific", run) for name, run in RUNS.items()}
    assert all(max(of, key=lambda name: of[name][metric]) == "lamar" for metric in TESTED)
    for base in BASES:
        found = [pair(products, RUNS["lamar"], RUNS[base])[metric] for metric in TESTED]
        assert [one["significant"] for one in found] == [base == "signal-only"] * 3
    tested = {base: pair(products, RUNS["lamar"], RUNS[base])["recall@10"]["p_holm"] for base in BASES[:-1]}
    assert min(tested, key=tested.__getitem__) == "placebo"
    rare = {base: group(products, "1–5", RUNS["lamar"], RUNS[base]) for base in BASES[:-1]}
    assert {base for base, found in rare.items() if found["low"] > 0} == {"placebo", "random-words"}
    assert -0.0001 < rare["original"]["low"] < 0
    popular = [
        group(products, "> 20", RUNS["lamar"], RUNS[base])["value"] for base in ("original", "placebo", "random-words")
    ]
    assert max(popular) < 0


def test_the_readme_says_the_same(products):
    readme = " ".join(Path("README.md").read_text().split())
    lamar, own = RUNS["lamar"], STARTS["MiniLM, then `scientific`"]
    against = [(lamar, RUNS[base]) for base in ("original", "placebo", "random-words")]
    alike = [run.format("lamar") for run in (own, OTHERS["UniSRec"])]
    against += [(run, run.replace("lamar", "original")) for run in (*alike, WHOLE["lamar"])]
    for run, base in against:
        ends = pair(products, run, base)["ndcg@10"]["relative"]
        assert re.search(
            rf"{re.escape(percent(ends['value']))}[^.+−]*\({re.escape(percent(ends['low']))} to "
            rf"{re.escape(percent(ends['high']))}\)",
            readme,
        )
    assert f"from {mean(metrics('scientific', RUNS['original']), 'ndcg@10', 3)} to " in readme
    for run in (own.format("original"), WHOLE["original"]):
        assert f"to {mean(metrics('scientific', run), 'ndcg@10', 3)}" in readme


def test_what_is_said_of_all_layers_is_so(products):
    """No difference, on rare items neither, where intervals are wider and include what was seen before."""
    lamar = WHOLE["lamar"]
    for base in (WHOLE["original"], WHOLE["placebo"]):
        assert not any(pair(products, lamar, base)[metric]["significant"] for metric in TESTED)
        rare = group(products, "1–5", lamar, base)
        before = group(products, "1–5", RUNS["lamar"], base.replace("whole", "products"))
        assert rare["low"] < 0 < before["value"] < rare["high"]
        assert 1.7 < (rare["high"] - rare["low"]) / (before["high"] - before["low"]) < 2.5
    of = {name: metrics("scientific", run) for name, run in WHOLE.items()}
    assert max(of, key=lambda name: of[name]["ndcg@10"]) == min(of, key=lambda name: of[name]["recall@10"]) == "placebo"
    unisrec, zesrec = (
        [metrics("scientific", f"{model}-{name}-products")["ndcg@10"] for name in ("original", "lamar")]
        for model in ("unisrec", "zesrec")
    )
    assert max(unisrec) < of["lamar"]["ndcg@10"] < of["original"]["ndcg@10"] < min(zesrec)
    settings = [read_json(Path(f"metrics/scientific/full/{run}.signature.json")) for run in (WHOLE["lamar"], *SMALL)]
    assert [one["settings"]["max_tokens"] for one in settings] == [256, 96, 96, 96, 96]
    assert [one["settings"]["attribute_tokens"] for one in settings] == [32, 16, 16, 16, 16]


def test_what_is_said_of_pre_training_is_so(products):
    found = {name: pair(products, run.format("lamar"), run.format("original")) for name, run in STARTS.items()}
    assert not any(one[metric]["significant"] for one in found.values() for metric in TESTED)
    assert all(one["ndcg@10"]["relative"]["value"] > 0 for one in found.values())
    starts = [[metrics("scientific", run.format(name)) for run in STARTS.values()] for name in ("original", "lamar")]
    for minilm, games, own in starts:
        assert games["ndcg@10"] < minilm["ndcg@10"] < own["ndcg@10"]
        assert own["ndcg@10_std"] < minilm["ndcg@10_std"]
    settings = {name: pair(products, run.format("lamar"), run.format("original")) for name, run in TWO_SETTINGS.items()}
    assert {name: one["ndcg@10"]["significant"] for name, one in settings.items()} == {"original": False, "lamar": True}


def test_what_is_said_of_other_models_is_so(products):
    """Nothing is significant, UniSRec's change is within a few percent, and rare products gain as in Recformer."""
    found = {name: pair(products, run.format("lamar"), run.format("original")) for name, run in OTHERS.items()}
    assert not any(one[metric]["significant"] for one in found.values() for metric in TESTED)
    s3rec = {name: metrics("scientific", OTHERS["S3-Rec"].format(name))["ndcg@10"] for name in WHOLE}
    assert max(s3rec, key=s3rec.get) == "placebo"
    ends = found["UniSRec"]["ndcg@10"]["relative"]
    assert max(-ends["low"], ends["high"]) < 0.03
    texts = [metrics("scientific", f"{model}-lamar-products")["ndcg@10"] for model in ("unisrec", "zesrec")]
    assert min(texts) > metrics("scientific", RUNS["lamar"])["ndcg@10"]
    lamar, original, placebo = (OTHERS["UniSRec"].format(name) for name in ("lamar", "original", "placebo"))
    assert group(products, "1–5", lamar, original)["low"] > 0
    assert group(products, "1–5", lamar, placebo)["low"] > 0
    assert all(group(products, "> 20", lamar, base)["low"] < 0 for base in (original, placebo))
    ours, *theirs = (group(products, "1–5", run)["value"] for run in (lamar, RUNS["lamar"], WHOLE["lamar"]))
    assert all(5.5 < found / ours < 6.5 for found in theirs)
    others = ("unisrec-original-products", "zesrec-original-products", "s3rec-original-products", "sasrec-products")
    assert metrics("scientific", "bert4rec-products")["ndcg@10"] < min(
        metrics("scientific", run)["ndcg@10"] for run in others
    )


def test_how_much_text_there_is_is_so():
    """Of data that no clone has: compared where the signals are those that the results were made from."""
    signals = Path("data/signals/scientific/qwen-coder.parquet")
    made_from = read_json(Path("metrics/scientific/full", f"{RUNS['lamar']}.signature.json"))["signals"]["qwen-coder"]
    if not signals.exists() or sha256_of(signals) != made_from:
        pytest.skip("the signals of scientific that the results were made from are not here")
    assert text_counts(pl.read_parquet(signals)) == TEXTS


def test_what_repeats_and_what_was_not_run():
    assert read_evidence(Path(), "ml-100k").repeats == {
        "recformer-original-converged": "recformer-original",
        "recformer-lamar-converged": "recformer-lamar",
    }
    tried = {path.name.split("-")[0] for path in Path("metrics/scientific/full").glob("*.signature.json")}
    assert {"s3rec", "unisrec", "zesrec", "bert4rec", "taxrec"} <= tried
    assert read_json(Path("metrics/scientific/qwen-coder/ratings.json"))["raters"] == 0


def test_hardly_any_film_is_rare():
    """Groups by popularity of too few users are not in the table: what is in it is nearly everybody."""
    table = read_evidence(Path(), "ml-100k").buckets
    shown = table.filter(by="popularity", metric="ndcg@10", run="sasrec")
    assert set(shown["bucket"]) == {"6–20", "> 20"}
    assert shown["users"].sum() > 0.97 * 943
