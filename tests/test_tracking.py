import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from lamar import tracking
from lamar.params import Tracking

ON = Tracking(enabled=True, experiment="tests")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    tracking._tracking_is_off.cache_clear()
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", *tracking.ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A repository root whose store stays: creating one takes seconds."""
    return tmp_path_factory.mktemp("root")


def read_back(root: Path, name: str):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("tests")
    (found,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    return client, experiment, found


def test_a_run_is_kept_in_the_store_of_the_repository(root, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.chdir(tmp_path)  # as in a DVC experiment
    params = {"run": {"seeds": [0, 1], "lr": 0.001}, "ties": "expected"}
    with tracking.run(ON, "kept", params, {"dataset_hash": "d0"}) as tracker:
        tracker.epoch({"loss": 2.0, "validation_ndcg@10": 0.1}, step=1)
        tracker.epoch({"loss": 1.0, "validation_ndcg@10": 0.2}, step=2)
        tracker.metrics({"test_ndcg@10": 0.3})
    client, experiment, kept = read_back(root, "kept")
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"run.seeds": "[0, 1]", "run.lr": "0.001", "ties": "expected"}
    assert kept.data.metrics == {"loss": 1.0, "validation_ndcg_at_10": 0.2, "test_ndcg_at_10": 0.3}
    assert [(m.step, m.value) for m in client.get_metric_history(kept.info.run_id, "loss")] == [(1, 2.0), (2, 1.0)]
    assert kept.data.tags["dataset_hash"] == "d0"
    assert kept.data.tags["git_revision"] == "unknown"
    assert experiment.artifact_location == f"file://{root}/mlartifacts"
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_is_marked(root, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(root))
    with pytest.raises(ZeroDivisionError), tracking.run(ON, "failed", {}, {}):
        raise ZeroDivisionError
    assert read_back(root, "failed")[2].info.status == "FAILED"


def test_the_files_of_a_folder_are_kept_under_its_name(root, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(root))
    folder = tmp_path / "seed-0"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    with tracking.run(ON, "with files", {}, {}) as tracker:
        tracker.files(folder)
    client, _, kept = read_back(root, "with files")
    assert [file.path for file in client.list_artifacts(kept.info.run_id, "seed-0")] == [
        "seed-0/adapter_model.safetensors"
    ]
    (file,) = Path(root, "mlartifacts").rglob("adapter_model.safetensors")
    assert file.read_bytes() == b"weights"


def test_git_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    clean = tracking.revision()
    assert len(clean["git_revision"]) == 40
    assert clean["git_dirty"] == "false"
    Path("new").touch()
    assert tracking.revision() == clean | {"git_dirty": "true"}


def test_switched_off_says_so_once_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        with tracking.run(Tracking(enabled=False, experiment="tests"), f"seed-{seed}", {}, {}) as tracker:
            tracker.epoch({"loss": 1.0}, step=1)
    assert capsys.readouterr().err == "tracking is off: tracking.enabled is false in params.yaml\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("enabled", [True, False])
def test_where_mlflow_is_not_installed(enabled, monkeypatch, capsys):
    for module in ("mlflow", "mlflow.entities", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, module, None)
    with tracking.run(Tracking(enabled=enabled, experiment=f"without-{enabled}"), "none", {"lr": 1}, {}) as tracker:
        tracker.epoch({"loss": 1.0}, step=1)
        tracker.metrics({"mrr": 1.0})
        tracker.files(Path("models"))
    assert all(line.startswith("tracking is off: ") for line in capsys.readouterr().err.splitlines())


def test_server_down_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    start = time.monotonic()
    with tracking.run(ON, "nowhere", {"lr": 1}, {}) as tracker:
        tracker.epoch({"loss": 1.0}, step=1)
        tracker.metrics({"mrr": 1.0})
    assert time.monotonic() - start < 20
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tracking is off: MlflowException: API request to http://127.0.0.1:9")


def test_server_that_goes_down_during_a_run(root, monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(root))
    with tracking.run(ON, "interrupted", {}, {}) as tracker:
        monkeypatch.setattr(tracker._client, "log_batch", lambda *_, **__: 1 / 0)
        tracker.epoch({"loss": 1.0}, step=1)
        tracker.epoch({"loss": 0.5}, step=2)
    assert capsys.readouterr().err == "tracking is off: ZeroDivisionError: division by zero\n"


@pytest.fixture
def server(root):
    """The address of an `mlflow ui` of the store, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{root}/mlflow.db"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1"],
        cwd=root,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def test_mlflow_ui_shows_the_page_and_takes_runs(server, root, monkeypatch):
    assert "<title>MLflow</title>" in _page(server, seconds=240)  # the first start compiles MLflow
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with tracking.run(ON, "served", {"lr": 1}, {}) as tracker:
        tracker.epoch({"loss": 0.5}, step=1)
    _, _, served = read_back(root, "served")
    assert (served.info.status, served.data.metrics) == ("FINISHED", {"loss": 0.5})


def _page(address: str, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(address, timeout=5).read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
