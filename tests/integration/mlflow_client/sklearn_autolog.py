"""As MLflow's own documents show it: scikit-learn with autolog, and nothing of ours."""

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

mlflow.set_experiment("iris")
mlflow.sklearn.autolog()
X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
with mlflow.start_run(run_name="logistic") as run:
    model = LogisticRegression(max_iter=200, C=0.5).fit(X_train, y_train)
    mlflow.log_metric("test_accuracy", model.score(X_test, y_test))
    mlflow.log_text("as it is", "notes/note.txt")
    mlflow.set_tag("team", "blue")

found = mlflow.search_runs(experiment_names=["iris"], filter_string="metrics.test_accuracy > 0.5 and params.C = '0.5'")
assert found["run_id"].tolist() == [run.info.run_id]
(brought,) = mlflow.search_logged_models(experiment_ids=[run.info.experiment_id], output_format="list")
loaded = mlflow.sklearn.load_model(brought.model_uri)
assert (loaded.predict(X_test) == model.predict(X_test)).all()
print(run.info.run_id)
