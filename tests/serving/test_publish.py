"""A trained model in MLflow: what is logged, and the real server that answers with it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from circle import DATASET, IDS, ITEMS, texts
from click.testing import CliRunner

from lamar.cli import main
from lamar.params import load
from lamar.serving.publish import requirements
from lamar.serving.recommender import Recommender
from lamar.serving.repository import trained_run

RUN = "recformer-lamar"
STARTED = 500  # seconds for MLflow and torch to be imported, on a machine with other work


@pytest.fixture
def address(shop: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the published model is, with a new item; MLflow reads and writes the shop's own store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    row = {"sku": "new", **{name: values[0] for name, values in texts([4]).items()}}
    (shop / "new.jsonl").write_text(json.dumps(row))
    done = CliRunner().invoke(main, ["publish", "--model", RUN, "--dataset", DATASET, "--new-items", "new.jsonl"])
    assert done.exit_code == 0, done.output
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shop}/mlflow.db")
    (found,) = re.findall(r"mlflow models serve -m (models:/\S+) --env-manager local", done.stdout)
    return found


def test_what_is_needed_can_be_installed():
    """A local part of a version (+cpu) says where a package was built, and no index has it."""
    assert all(re.fullmatch(r"[a-z]+==[0-9.]+", line) for line in requirements())


def test_what_is_logged(address, shop):
    import mlflow
    import pandas

    model = mlflow.pyfunc.load_model(address)
    (folder,) = (shop / "mlartifacts").rglob("MLmodel")
    files = {path.relative_to(folder.parent).as_posix() for path in folder.parent.rglob("*") if path.is_file()}
    kept = {"weights.safetensors", "items.parquet", "texts.parquet", "run.json"}
    kept |= {"encoder/config.json", "encoder/tokenizer.json"}
    assert {f"artifacts/recommender/{name}" for name in kept} | {"served.py", "code/lamar/cli.py"} <= files
    assert [name for name in files if Path(name).suffix in (".pkl", ".pickle", ".bin", ".pt")] == []
    flavor = yaml.safe_load(folder.read_text())["flavors"]["python_function"]
    assert flavor["model_code_path"].endswith("served.py")
    assert "python_model" not in flavor
    assert [column.name for column in model.metadata.signature.inputs] == ["history"]
    assert {param.name: param.default for param in model.metadata.signature.params} == {"k": 10, "repeat": False}
    example = model.input_example
    assert example["history"].tolist() == [IDS[:3], [IDS[-1], "new"]]
    answered = model.predict(pandas.DataFrame({"history": [IDS[:3]]}), params={"k": 4})
    expected = Recommender(trained_run(load(), DATASET, RUN, None, shop / "new.jsonl")).recommend([IDS[:3]], 4)
    assert [item["item_id"] for item in answered["items"][0]] == expected["item_id"].to_list()
    assert [item["title"] for item in answered["items"][0]] == expected["title"].to_list()


def test_a_store_that_does_not_answer(shop, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = CliRunner().invoke(main, ["publish", "--model", "popularity", "--dataset", DATASET])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: http://127.0.0.1:9: the model could not be logged (MlflowException: ")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def server(address: str, shop: Path):
    """The address of a real `mlflow models serve` of the published model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "-m", address, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # the logged code is read
    with (shop / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment | own, start_new_session=True, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}", process, shop / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def asked(url: str, body: dict | None = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTED
    while True:
        try:
            assert asked(f"{url}/ping")[0] == 200
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no server: {log.read_text()[-2000:]}")
            time.sleep(1)


@pytest.mark.slow
def test_the_server_answers_with_the_best_items(server, shop):
    histories = [IDS[:3], [IDS[3], "new"]]
    body = {"dataframe_records": [{"history": history} for history in histories], "params": {"k": 3}}
    status, answer = asked(f"{server}/invocations", body)
    assert status == 200, answer
    expected = Recommender(trained_run(load(), DATASET, RUN, None, shop / "new.jsonl")).recommend(histories, 3)
    served = [item for row in json.loads(answer)["predictions"] for item in row["items"]]
    assert [item["item_id"] for item in served] == expected["item_id"].to_list()
    assert [item["title"] for item in served] == expected["title"].to_list()
    assert [item["score"] for item in served] == pytest.approx(expected["score"].to_list(), abs=1e-5)
    everything = {"dataframe_records": [{"history": IDS[:3]}], "params": {"k": 50, "repeat": True}}
    assert len(json.loads(asked(f"{server}/invocations", everything)[1])["predictions"][0]["items"]) == ITEMS + 1
    status, answer = asked(f"{server}/invocations", {"dataframe_records": [{"history": ["sku-99"]}]})
    assert status == 400
    assert "1 unknown item id(s): 'sku-99'" in json.loads(answer)["message"]
