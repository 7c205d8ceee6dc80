"""A trained model in MLflow, from where `mlflow models serve` answers over HTTP.

Logged from code (`served.py`) and files: safetensors, JSON and parquet. Nothing of it is a pickled object.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamar import tracking
from lamar.errors import LamarError
from lamar.params import Tracking
from lamar.serving.trained import Trained

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

PACKAGE = Path(__file__).parents[1]
CODE = Path(__file__).with_name("served.py")
NEEDED = ("mlflow", "numpy", "pandas", "polars", "pydantic", "pyyaml", "rich", "safetensors", "tokenizers", "torch")


def publish(trained: Trained, dataset: str, store: Tracking) -> str:
    """Log a trained model, with this package's code, to MLflow and return its address (models:/...).

    The store is that of the tracking; `store` names the experiment. Raises LamarError when MLflow does not take it.
    """
    tracking.settle(tracking.QUIET)
    import mlflow

    uri = tracking.store_uri()
    mlflow.set_tracking_uri(uri)
    try:
        experiment = tracking.experiment_id(mlflow.MlflowClient(), store.experiment)
        mlflow.set_experiment(experiment_id=experiment)
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "recommender")
            trained.save(files)
            return _log(trained, dataset, files)
    except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' ...
        raise LamarError(f"{uri}: the model could not be logged ({tracking.reason_of(error)})") from error


def _log(trained: Trained, dataset: str, files: Path) -> str:
    import mlflow

    logged = mlflow.pyfunc.log_model(
        name=f"{dataset}-{trained.name}",
        python_model=str(CODE),
        artifacts={"recommender": str(files)},
        code_paths=[str(PACKAGE)],
        signature=signature(),
        input_example=example(trained),
        pip_requirements=requirements(),
        params=tracking.flattened(trained.run.model_dump()),
        tags={"dataset": dataset, "run": trained.name, **tracking.revision()},
    )
    return logged.model_uri


def requirements() -> list[str]:
    """What a model needs where it is served, in versions that PyPI has: torch's build (+cpu) is the machine's."""
    return [f"{name}=={version(name).split('+')[0]}" for name in NEEDED]


def signature() -> ModelSignature:
    """One row a user in, `history`: item ids, oldest first; `items` out: item_id, title and score, best first.

    Parameters of a request: k, how many items; repeat, whether items of the history are among them.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, Object, ParamSchema, ParamSpec, Property, Schema

    item = Object([Property("item_id", "string"), Property("title", "string"), Property("score", "double")])
    return ModelSignature(
        inputs=Schema([ColSpec(Array("string"), "history")]),
        outputs=Schema([ColSpec(Array(item), "items")]),
        params=ParamSchema([ParamSpec("k", "long", 10), ParamSpec("repeat", "boolean", False)]),
    )


def example(trained: Trained) -> tuple[Any, dict[str, Any]]:
    """Two users' histories, and parameters."""
    import pandas

    ids = trained.items["item_id"].to_list()
    return pandas.DataFrame({"history": [ids[:3], ids[-2:]]}), {"k": 5, "repeat": False}
