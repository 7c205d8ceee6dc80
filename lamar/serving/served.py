"""What MLflow runs of a published model: it reads the files that were logged and answers requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext

from lamar.errors import LamarError
from lamar.serving.recommender import Recommender
from lamar.serving.trained import read


class Served(PythonModel):
    """A recommender behind MLflow's interface; `lamar.serving.publish.signature` says what it takes and gives."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model, once per process."""
        self._recommender = Recommender(read(Path(context.artifacts["recommender"])))

    def predict(
        self, context: PythonModelContext, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> pandas.DataFrame:
        """Recommend to every row. Raises MlflowException, which is a 400 over HTTP, for a mistake in the request."""
        histories = [list(history) for history in model_input["history"]]
        asked = {"k": 10, "repeat": False} | (params or {})
        if asked["k"] < 1:
            raise MlflowException.invalid_parameter_value(f"k: {asked['k']}, but at least 1 item is recommended")
        try:
            found = self._recommender.recommend(histories, asked["k"], repeat=asked["repeat"])
        except LamarError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        items: list[list[dict[str, Any]]] = [[] for _ in histories]
        for row in found.drop("rank").iter_rows(named=True):
            items[row.pop("row")].append(row)
        return pandas.DataFrame({"items": items})


mlflow.models.set_model(Served())
