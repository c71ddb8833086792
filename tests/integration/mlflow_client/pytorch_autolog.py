"""As MLflow's own documents show it: Lightning with PyTorch's autolog, and nothing of ours."""

import lightning
import mlflow
import torch
from mlflow import MlflowClient
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Line(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.mse_loss(self.layer(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


torch.set_num_threads(1)
mlflow.set_experiment("line")
mlflow.pytorch.autolog(log_every_n_step=1)
x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=32)
with mlflow.start_run(run_name="lightning") as run:
    trainer = lightning.Trainer(max_epochs=5, accelerator="cpu", enable_progress_bar=False, log_every_n_steps=1)
    trainer.fit(Line(), data)

history = MlflowClient().get_metric_history(run.info.run_id, "train_loss_step")
assert len(history) > 5 and history[-1].value < history[0].value, history
print(run.info.run_id)
