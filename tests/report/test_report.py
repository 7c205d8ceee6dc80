"""The page and the JSON, built from small files of a made-up dataset."""

import fnmatch
import json
import re
import shutil
import subprocess
from base64 import b64encode
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from lamar import params
from lamar.errors import LamarError
from lamar.evaluation.metrics import METRICS
from lamar.evaluation.ranks import SCHEMA, write
from lamar.report.browser import largest_moves
from lamar.report.chapter import Chapter, chapters
from lamar.report.charts import bars, curves, group_charts
from lamar.report.comparison import differences
from lamar.report.evidence import Evidence, read_evidence
from lamar.report.page import render, summary
from lamar.report.provenance import origins
from lamar.report.results import Result
from lamar.report.tables import paper_table
from lamar.report.ties import Ties
from lamar.text.controls import CONTROLS

HOSTILE = '<script>alert("x")</script>'
REPOSITORY = Path(__file__).parents[2]
NOTHING = Evidence(None, None, None, None)


def result(run: str, ndcg: float, std: float = 0.001, seeds: int = 3, **signature) -> Result:
    """A result whose other metrics are all 0.5; `signature` changes the default one."""
    model, _, features = run.partition("-")
    signals = {} if features in ("", "original") else {"writer": "abc"}
    made = {
        "model": model,
        "features": features or "original",
        "control": "shuffled" if features == "placebo" else "none",
        "signals": signals,
        "settings": {"layers": 2},
        "seeds": list(range(seeds)),
        "ties": "expected",
        "raw": {"variant": "mirror", "files": {}},
        "sequences": {"items": "0123456789abcdef", "histories": "0"},
        "versions": {"lamar": "0.1.0"},
    }
    metrics = dict.fromkeys(METRICS, 0.5) | {f"{name}_std": 0.0 for name in METRICS}
    return Result(run, metrics | {"ndcg@10": ndcg, "ndcg@10_std": std}, made | signature)


RESULTS = [
    result("popularity", 0.02, std=0.0, seeds=1),
    result("recformer-original", 0.050),
    result("recformer-lamar", 0.0505, std=0.002),
    result("recformer-placebo", 0.0404),
]


def write_ranks(root: Path, run: str, greater: list[int]) -> None:
    """Ranks of users 7 and 8, whose targets are items 0 and 1."""
    columns = {"user": [7, 8], "item": [0, 1], "seed": 0, "greater": greater, "equal": 0, "candidates": 200}
    write(root / f"ranks/tiny/full/{run}.parquet", pl.DataFrame(columns).cast(SCHEMA))


@pytest.fixture
def root(tmp_path) -> Path:
    full = tmp_path / "metrics/tiny/full"
    full.mkdir(parents=True)
    for one in RESULTS:
        (full / f"{one.run}.json").write_text(json.dumps(one.metrics))
        (full / f"{one.run}.signature.json").write_text(json.dumps(one.signature))
    (tmp_path / "metrics/tiny/statistics.json").write_text('{"users": 12345, "coverage": {"title": 1.0}}')
    curves = tmp_path / "metrics/tiny/curves"
    curves.mkdir()
    (curves / "recformer-lamar.csv").write_text(
        "seed,stage,epoch,loss,validation_ndcg@10\n0,1,1,2.0,0.1\n0,1,2,1.5,\n0,1,3,1.0,0.3\n0,2,1,0.9,0.35\n"
    )
    quality = tmp_path / "metrics/tiny/writer/quality.json"
    quality.parent.mkdir()
    quality.write_text('{"kept": 1, "kept_share": 0.5, "dropped": {"too short": 1}}')
    for folder in ("signals", "prepared"):
        (tmp_path / "data" / folder / "tiny").mkdir(parents=True)
    items = {"item": [0, 1], "item_id": ["a", "b"], "title": [HOSTILE, "Dropped"]}
    pl.DataFrame(items).write_parquet(tmp_path / "data/prepared/tiny/items.parquet")
    signals = {"item_id": ["a", "b"], "name": "Use", "signal": ["<b>bold</b>", "no"], "kept": [True, False]}
    signals |= {"reason": ["", "too short"]}
    pl.DataFrame(signals).write_parquet(tmp_path / "data/signals/tiny/writer.parquet")
    write_ranks(tmp_path, "recformer-original", [9, 99])
    write_ranks(tmp_path, "recformer-lamar", [0, 79])
    usage = {"requests": 2, "input_tokens": 2400, "output_tokens": 40, "cost_usd": 0.25, "retries": 0}
    (tmp_path / "metrics/tiny/writer/usage.json").write_text(json.dumps(usage))
    (tmp_path / "metrics/tiny/writer/similarity.csv").write_text(
        "similarity,threshold,rows,share\nsmall,0.6,3,0.75\nsmall,0.9,0,0.0\n"
    )
    words = {"signals": 2, "sample": 2, "vocabulary": 9, "words": 12, "compression": 1.5}
    words |= {f"distinct_{n}": 0.5 for n in (1, 2, 3)}
    words |= {"openings": [{"text": "used in <i>", "signals": 2, "share": 1.0}], "skeletons": []}
    (tmp_path / "metrics/tiny/writer/diversity.json").write_text(json.dumps(words))
    return tmp_path


@pytest.fixture(scope="module")
def chosen() -> params.Params:
    return params.load(REPOSITORY / "params.yaml")


def page_of(root: Path, chosen: params.Params) -> str:
    return render(chapters(root, chosen), root, origins(root, "metrics", "ranks", commits=False), 20)


class Elements(HTMLParser):
    """Every element of a page, and whether all that were opened are closed."""

    VOID = {"meta", "line", "br", "link", "img", "input"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_item_text_is_escaped(root, chosen):
    page = page_of(root, chosen)
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "used in &lt;i&gt;" in page
    assert not {"b", "i"} & {tag for tag, attrs in Elements(page).found if "class" not in attrs}
    assert page.count("<script") == 2  # the page's own and the data of the browser, in which nothing can end it


def test_no_script_runs_but_the_pages_own(root, chosen):
    page = page_of(root, chosen)
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", page)
    own = page.rsplit("<script>", 1)[1].split("</script>", 1)[0]
    assert b64encode(sha256(own.encode()).digest()).decode() == allowed


def test_the_browser_knows_every_item(root, chosen):
    (chapter,) = chapters(root, chosen)
    assert chapter.browser == {
        "columns": ["title"],
        "generators": ["writer"],
        "compared": ("recformer-lamar", "recformer-original"),
        "items": [
            ["a", [HOSTILE], [["<b>bold</b>", ""]], [[7, 10.0, 1.0]]],
            ["b", ["Dropped"], [["no", "too short"]], [[8, 100.0, 80.0]]],
        ],
    }
    assert largest_moves(chapter.browser, 1) == [(HOSTILE, 7, 10.0, 1.0)]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_numbers_are_named_by_their_content_and_on_request_by_their_commit(root, tmp_path_factory):
    path = root / "metrics/tiny/full/popularity.json"
    content = f"sha256 {sha256(path.read_bytes()).hexdigest()[:12]}"
    git(root, "init")
    git(root, "add", "metrics")
    git(root, "commit", "-m", "results")
    commit = git(root, "log", "-1", "--format=%h").strip()
    name = "metrics/tiny/full/popularity.json"
    assert origins(root, "metrics", commits=False)[name] == content
    assert origins(root, "metrics", commits=True)[name] == f"{content}, committed in {commit}"
    path.write_text("{}")
    (root / "metrics/tiny/new.json").write_text("{}")
    found = origins(root, "metrics", commits=True)
    assert found[name].endswith(", not committed")
    assert found["metrics/tiny/new.json"].endswith(", not committed")
    assert found["metrics/tiny/statistics.json"].endswith(f", committed in {commit}")


def test_a_shallow_clone_knows_no_commits(root, tmp_path_factory):
    """Its one commit seems to have made everything."""
    git(root, "init")
    for name in ("metrics", "ranks"):
        git(root, "add", name)
        git(root, "commit", "-m", name)
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "clone", "--depth", "1", root.as_uri(), ".")
    assert origins(clone, "metrics", commits=True) == origins(root, "metrics", commits=False)


def test_outside_of_git_there_are_no_commits(root):
    assert origins(root, "metrics", commits=True) == origins(root, "metrics", commits=False)


def test_the_page_hangs_on_its_inputs_alone(root, chosen):
    before = page_of(root, chosen)
    git(root, "init")
    git(root, "add", "metrics")
    git(root, "commit", "-m", "results")
    assert page_of(root, chosen) == before
    digest = sha256((root / "metrics/tiny/statistics.json").read_bytes()).hexdigest()[:12]
    assert before.count(f"(sha256 {digest})") == 2  # with the facts, and with the table of all statistics


def test_every_file_of_numbers_is_listed_with_its_content(root, chosen):
    page = with_evidence(root, chosen)
    paths = [path for folder in ("metrics", "ranks") for path in (root / folder / "tiny").rglob("*") if path.is_file()]
    files = {path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest()[:12] for path in paths}
    assert len(files) > 10
    assert dict(re.findall(r"<li><code>([^<]+)</code>: sha256 ([0-9a-f]{12})</li>", page)) == files
    named = {unescape(path) for path in re.findall(r"<code>((?:metrics|ranks)/[^<]+)</code>", page)}
    assert {"metrics/tiny/curves/<run>.csv", "ranks/tiny/full/recformer-lamar.parquet"} <= named
    assert all(fnmatch.filter(files, re.sub("<[a-z]+>", "*", path)) for path in named)


def test_every_part_of_the_page_names_the_source_of_its_numbers(root, chosen):
    _, *parts = re.split("(?=<h[2-5])", with_evidence(root, chosen))
    titles = {re.search("<h[2-5]>(.*)</h[2-5]>", part)[1]: part for part in parts}
    silent = {title for title, part in titles.items() if not re.search("<code>(metrics|ranks)/tiny/", part)}
    # a heading of headings, signals themselves; of rankers and people there are no numbers here
    assert silent == {
        "The signals",
        "Some of them",
        "LLMs that rank",
        "Rated by people",
        "Look up an item",
        "How to read the numbers",
    }
    for title in ("At a glance", "tiny", "NDCG@10, in one picture"):
        assert "<code>metrics/tiny/significance.json</code> (sha256 " in titles[title]


def with_evidence(root: Path, chosen: params.Params) -> str:
    """The page with tests and groups."""
    (root / "metrics/tiny/significance.json").write_text(json.dumps(significance()))
    (root / "metrics/tiny/buckets.csv").write_text(
        "by,bucket,users,run,against,metric,value,low,high\n"
        'popularity,> 20,1234,recformer-lamar,"",ndcg@10,0.05,0.04,0.06\n'
        "popularity,> 20,1234,recformer-lamar,recformer-placebo,ndcg@10,0.01,-0.01,0.03\n"
    )
    return page_of(root, chosen)


def test_every_kind_of_base_is_named_for_what_it_is(root, chosen):
    text = as_words(with_evidence(root, chosen))
    bases = "( original : the item’s own attributes alone; placebo : another item’s signal in the signal’s place)"
    assert bases in text
    assert text.count("The texts of placebo are drawn once") == 2  # at a glance, and beside the tests
    found = significance()
    found["pairs"][1]["against"] = "recformer-signal-only"
    (root / "metrics/tiny/significance.json").write_text(json.dumps(found))
    full = root / "metrics/tiny/full"
    for path in full.glob("recformer-placebo*"):
        path.unlink()
    alone = result("recformer-signal-only", 0.04, features="signal-only", control="signal-only")
    (full / "recformer-signal-only.json").write_text(json.dumps(alone.metrics))
    (full / "recformer-signal-only.signature.json").write_text(json.dumps(alone.signature))
    text = words(root, chosen)
    assert "signal-only : the signal alone, without the item’s own attributes)" in text
    assert "are drawn once, and" not in text.split("How to read the numbers")[1].split("As well")[0]
    assert "The texts of" not in text  # nothing here was drawn


def test_every_control_is_explained():
    (told,) = re.findall(r"{% set bases = {(.*?)} %}", (REPOSITORY / "lamar/report/parts.html").read_text(), re.DOTALL)
    assert set(re.findall('"(.*?)": ', told)) == set(CONTROLS)


def test_the_page_is_whole_and_asks_nobody(root, chosen):
    page = page_of(root, chosen)
    elements = Elements(page)
    assert elements.open == []
    links = [attrs[name] for _, attrs in elements.found for name in ("href", "src") if name in attrs]
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"https?:|url\(|@import|nan", page)
    assert page == page_of(root, chosen)


def test_the_page_shows_results_differences_curves_and_statistics(root, chosen):
    text = words(root, chosen)
    assert "recformer lamar 0.0505 ± 0.0020" in text
    assert "recformer-lamar against recformer-original : NDCG@10 +1.0% ; no significance test was made" in text
    assert "2 answers: 2,400 tokens read, 40 written, $0.25" in text
    assert "recformer-lamar 0.0505 not recorded – 2 2,400 40 0.25" in text
    assert "recformer-original 0.0500 not recorded – – – – –" in text
    assert "Controls without results here: random-words, description, signal-only." in text
    assert "small 0.6 3 75.0%" in text
    assert "Not yet rated." in text
    assert "popularity 0.0200" in text
    assert "recformer: validation NDCG@10" in text
    assert "12,345" in text
    assert "too short 1" in text


def test_without_the_data_the_numbers_stay(root, chosen):
    (root / "data/signals/tiny/writer.parquet").unlink()
    page = page_of(root, chosen)
    assert "not in this checkout" in page
    assert "kept share" in page


def test_the_page_shows_intervals_verdicts_and_groups(root, chosen):
    text = as_words(with_evidence(root, chosen))
    assert "−0.03 0 +0.03" in text  # the axis of the groups
    assert "recformer lamar 0.0505 ± 0.0020 (0.0400 to 0.0600)" in text  # beside its bar
    assert "between +5.0% and +20.0%. Significant (p = 0.0060, corrected)." in text
    assert "p = 0.0060, corrected), but the interval, which counts the chance of other seeds as well" in text
    assert "recformer-lamar against recformer-placebo, tiny +10.0% +5.0% to +20.0% significant 3 seeds" in text
    assert "0.0505 ± 0.0020 b 0.0400 to 0.0600" in text
    assert "1,234 users" in text
    assert "recformer-lamar against recformer-placebo: +0.0100" in text
    assert "+5.0% to +20.0%" in text


def test_a_judge_stands_apart_from_the_people(root, chosen):
    told = {"average": 1.5, "percent": 75.0, "alpha": None}
    judge = {"name": "writer", "read": 1, "relevancy": told, "usefulness": told}
    ratings = root / "metrics/tiny/writer/ratings.json"
    ratings.write_text(json.dumps({"items": 2, "raters": 0, "judges": [judge]}))
    text = words(root, chosen)
    assert "Not yet rated." in text
    assert "writer (wrote them itself) relevancy 1.50 75.0% not yet rated 1 of 2" in text
    people = {question: told | {"alpha": 0.5} for question in ("relevancy", "usefulness")}
    agreeing = judge | {"read": 2, "usefulness": told | {"alpha": -0.25}}
    ratings.write_text(json.dumps({"items": 2, "raters": 3, "judges": [agreeing], **people}))
    text = words(root, chosen)
    assert "writer 3 people relevancy 1.50 75.0% 0.50" in text
    assert "writer (wrote them itself) usefulness 1.50 75.0% -0.25 2 of 2" in text


def test_the_papers_ratings_are_not_said_to_be_of_a_file_here(root, chosen):
    (root / "metrics/tiny").rename(root / "metrics/scientific")
    text = words(root, chosen)
    assert "The paper’s own ratings" in text
    assert "whose numbers are its Table 2: means over its six datasets." in text
    assert "ratings.py" not in text
    told = {"average": 1.5, "percent": 75.0, "alpha": 0.5}
    people = {"items": 2, "raters": 3, "relevancy": told, "usefulness": told}
    (root / "metrics/scientific/writer/ratings.json").write_text(json.dumps(people))
    text = words(root, chosen)
    assert "Made by python stages/ratings.py scientific writer : metrics/scientific/writer/ratings.json (sha256" in text


def test_times_are_shown_for_the_ranks_they_were_taken_of(root, chosen):
    digest = sha256((root / "ranks/tiny/full/recformer-lamar.parquet").read_bytes()).hexdigest()
    times = {"recformer-lamar": {"machine": "a laptop", "ranks": digest, "seconds": {"0": 300.0, "1": 420.0, "2": 0.0}}}
    (root / "metrics/tiny/times.json").write_text(json.dumps(times))
    text = words(root, chosen)
    assert "recformer-lamar 0.0505 12.0 4.0 2 2,400 40 0.25" in text
    assert "by the clock, on a laptop;" in text
    write_ranks(root, "recformer-lamar", [1, 79])
    assert "recformer-lamar 0.0505 not recorded" in words(root, chosen)


def words(root: Path, chosen: params.Params) -> str:
    """The text of the page."""
    return as_words(page_of(root, chosen))


def as_words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).replace("&nbsp;", " ").split())


def significance() -> dict:
    """What the stage writes: lamar is significantly better than the placebo."""
    ends = {"value": 0.1, "low": 0.05, "high": 0.2}
    metric = {"difference": ends, "relative": ends, "relative_users": ends, "p": 0.001, "p_holm": 0.006}
    metrics = {name: metric | {"significant": True} for name in ("ndcg@10", "recall@10", "mrr")}
    pair = {"run": "recformer-lamar", "against": "recformer-original", "seeds": [3, 3], "chance": "users x seeds"}
    no = {name: metric | {"significant": False} for name in metrics}
    return {
        "users": 100,
        "resamples": 1000,
        "level": 0.95,
        "repeats": {},
        "runs": {"recformer-lamar": {"ndcg@10": {"value": 0.0505, "low": 0.04, "high": 0.06}}},
        "pairs": [pair | no, pair | {"against": "recformer-placebo"} | metrics],
    }


def test_summary(root, chosen):
    tiny = summary(chapters(root, chosen))["tiny"]
    assert list(tiny["runs"]) == ["popularity", "recformer-original", "recformer-lamar", "recformer-placebo"]
    assert tiny["runs"]["recformer-lamar"]["ndcg@10"] == 0.0505
    assert tiny["runs"]["recformer-lamar"]["seeds"] == 3
    against_original, against_placebo = tiny["differences"]
    assert against_original["against"] == "recformer-original"
    assert against_original["ndcg@10"] == 0.01  # 0.0005 / 0.050
    assert against_placebo["ndcg@10"] == 0.25  # 0.0101 / 0.0404
    writer = tiny["signals"]["writer"]
    assert writer["quality"]["kept"] == 1
    assert writer["similarity"] == {"small": [(0.6, 3, 0.75), (0.9, 0, 0.0)]}


def test_a_run_that_repeats_another_is_marked_and_compared_once(root, chosen):
    longer = {"settings": {"layers": 2, "patience": 10}}
    for name in ("recformer-original", "recformer-lamar"):
        again = result(name, 0.05, **longer)
        path = root / f"metrics/tiny/full/{name}-longer.json"
        path.write_text(json.dumps(again.metrics))
        path.with_suffix(".signature.json").write_text(json.dumps(again.signature))
    (chapter,) = chapters(root, chosen)
    assert [(one.new.run, one.base.run) for one in chapter.differences] == [
        ("recformer-lamar", "recformer-original"),
        ("recformer-lamar", "recformer-placebo"),
        ("recformer-lamar-longer", "recformer-original-longer"),
    ]
    repeats = {f"{name}-longer": name for name in ("recformer-original", "recformer-lamar")}
    (root / "metrics/tiny/significance.json").write_text(json.dumps(significance() | {"repeats": repeats}))
    (chapter,) = chapters(root, chosen)
    assert len(chapter.differences) == 2
    assert "every rank as of recformer-lamar" in words(root, chosen)


def test_the_dataset_with_most_users_comes_first(root, chosen):
    for number, dataset in enumerate(("few", "many")):
        shutil.copytree(root / "metrics/tiny", root / "metrics" / dataset)
        path = root / "metrics" / dataset / "statistics.json"
        path.write_text(json.dumps({"users": 12000 + 1000 * number}))
    assert [chapter.name for chapter in chapters(root, chosen)] == ["many", "tiny", "few"]
    assert [chapter.name for chapter in chapters(root, chosen, ["few"])] == ["few"]


def test_groups_that_are_too_small_are_named(root, chosen):
    (root / "metrics/tiny/significance.json").write_text(json.dumps(significance()))
    (root / "metrics/tiny/buckets.csv").write_text(
        "by,bucket,users,run,against,metric,value,low,high\n"
        "popularity,> 20,1234,recformer-lamar,recformer-placebo,ndcg@10,0.01,-0.01,0.03\n"
        "history,> 50,1234,recformer-lamar,recformer-placebo,ndcg@10,0.01,-0.01,0.03\n"
    )
    assert "fewer than 20 users say nothing and are left out: popularity 0, popularity 1–5, popularity 6–20, " in words(
        root, chosen
    )
    assert "popularity &gt; 20 recformer-lamar against recformer-placebo 1,234 +0.0100 −0.0100 to +0.0300" in words(
        root, chosen
    )


def test_the_papers_ratings_stand_beside_those_of_its_datasets_only(tmp_path):
    rated = {dataset: read_evidence(tmp_path, dataset).rated for dataset in ("scientific", "ml-100k")}
    assert rated["scientific"]["systems"]["GPT"] == {"relevancy": 14.63, "usefulness": 13.67}
    assert rated["ml-100k"] is None


def test_the_papers_films_are_those_with_storylines(tmp_path):
    assert read_evidence(tmp_path, "ml-1m-storylines").paper["table"] == "Table 6"
    assert read_evidence(tmp_path, "ml-1m").paper is None


def test_the_papers_ablations_name_their_own_table():
    chapter = Chapter(
        "scientific", RESULTS, {}, [], [], [], [], {}, [], read_evidence(REPOSITORY, "scientific"), None, [], []
    )
    sources = {row[0]: row[1:4] for row in paper_table(chapter)[0].rows}
    assert sources["LaMAR (GPT-4o-mini)"] == ["Table 3", "0.1114", "0.1524"]
    assert sources["Prompt variant of LaMAR (GPT-4o-mini)"] == ["Table 5", "0.1080", "0.1520"]
    assert sources["Signal variant of LaMAR (GPT-4o-mini)"] == ["Table 5", "0.1086", "0.1477"]


def test_runs_of_other_settings_or_models_are_not_compared():
    other = result("recformer-original", 0.1, settings={"layers": 3})
    assert differences([other, result("sasrec-original", 0.1), result("recformer-lamar", 0.9)], {}) == []


def test_what_ties_with_the_target_is_said_where_it_is_much(root, chosen):
    path = root / "ranks/tiny/full/popularity.parquet"
    columns = {"user": [7, 8, 9], "item": [0, 1, 0], "seed": 0, "greater": 5, "equal": [150, 30, 0], "candidates": 201}
    write(path, pl.DataFrame(columns).cast(SCHEMA))
    (chapter,) = chapters(root, chosen)
    assert chapter.ties["popularity"] == Ties(median=30.0, mean=60.0, others=200)
    assert chapter.ties["recformer-lamar"] == Ties(median=0.0, mean=0.0, others=199)
    text = " ".join(re.sub(r"<[^>]+>", " ", page_of(root, chosen)).split())
    expected = "share theirs with 30 other candidates or more, on average with 60.0 of 200 (30.0%)."
    assert f"popularity gives many items one score: half of the targets {expected}" in text
    assert "recformer-lamar gives many items" not in text
    runs = summary([chapter])["tiny"]["runs"]
    assert (runs["popularity"]["tied_median"], runs["popularity"]["tied_mean"]) == (30.0, 60.0)
    assert "tied_mean" not in runs["recformer-placebo"]  # its ranks are not here


def test_a_run_that_trains_nothing_is_made_by_its_own_stage(root, chosen):
    path = root / "metrics/tiny/full/popularity.signature.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "taxrec"}))
    page = page_of(root, chosen)
    assert "python stages/taxrec.py tiny popularity" in page
    assert "python stages/train.py tiny recformer-lamar" in page


def test_a_model_of_another_dataset_is_made_by_transfer(root, chosen):
    made = result("zesrec-lamar", 0.05, settings={"source": "games"})
    path = root / "metrics/tiny/full/zesrec-lamar-from-games.json"
    path.write_text(json.dumps(made.metrics))
    path.with_suffix(".signature.json").write_text(json.dumps(made.signature))
    page = page_of(root, chosen)
    assert (
        "python stages/transfer.py tiny games zesrec-lamar; python stages/evaluate.py tiny zesrec-lamar --source games"
        in page
    )


def test_bars():
    chart = bars(RESULTS, NOTHING)
    assert [bar.result.run for bar in chart.bars] == ["recformer-original", "recformer-lamar", "recformer-placebo"]
    full = 0.0505 * 1.06  # the longest bar and its headroom
    assert chart.reference == pytest.approx(100 * 0.02 / full, abs=0.01)
    assert chart.bars[1].width == pytest.approx(100 * 0.0505 / full, abs=0.01)
    assert chart.bars[1].whisker is None


def test_bars_have_intervals_and_leave_out_what_repeats_another_run():
    evidence = Evidence(significance() | {"repeats": {"recformer-placebo": "recformer-original"}}, None, None, None)
    first, second = bars(RESULTS, evidence).bars
    full = 0.06 * 1.06  # the longest whisker and its headroom
    assert (first.whisker, first.ends) == (None, "")
    assert second.ends == "0.0400 to 0.0600"
    assert second.whisker == pytest.approx((100 * 0.04 / full, 100 * 0.02 / full), abs=0.01)


@pytest.mark.parametrize(
    ("low", "high", "tick", "place"),
    [(-0.0463, 0.01, "0.04", 50 + 50 * 0.04 / 0.0463), (0.1, 0.3, "0.3", 100), (0.0, 0.0, "1", 100)],
)
def test_an_axis_of_groups_has_zero_in_its_middle_and_round_ticks(low, high, tick, place):
    row = {"by": "history", "bucket": "> 50", "users": 30, "run": "a", "against": "b", "metric": "ndcg@10"}
    (chart,) = group_charts(pl.DataFrame([row | {"value": high, "low": low, "high": high}]))
    assert [label for _, label in chart.ticks] == [f"−{tick}", "0", f"+{tick}"]
    assert [at for at, _ in chart.ticks] == pytest.approx([100 - place, 50, place], abs=0.01)
    assert chart.zero == 50


def test_curves(root):
    validation, loss = curves(root / "metrics/tiny/curves", RESULTS)
    first, second = validation.lines
    assert len(first.points.split()) == 3  # the first point twice, and the epoch with no validation left out
    assert len(set(second.points.split())) == 1
    assert loss.lines[0].points.startswith("0.0,")  # the first epoch is at the left edge
    assert loss.lines[1].points.startswith("100.0,")


def test_nothing_to_report(tmp_path, chosen):
    with pytest.raises(LamarError, match="no results to report; run dvc repro"):
        chapters(tmp_path, chosen)


def test_a_result_without_its_signature_or_a_metric(root, chosen):
    path = root / "metrics/tiny/full/popularity.json"
    path.write_text('{"mrr": 1.0}')
    with pytest.raises(LamarError, match=r"popularity\.json: no ndcg@10; evaluate this run again"):
        chapters(root, chosen)
    (root / "metrics/tiny/full/popularity.signature.json").unlink()
    with pytest.raises(LamarError, match=r"popularity\.signature\.json: no such file"):
        chapters(root, chosen)
