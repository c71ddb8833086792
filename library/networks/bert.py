"""BERT as vectors of sentences (Devlin et al., 2018; Reimers and Gurevych, Sentence-BERT, 2019), in plain torch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK = 32
EPSILON = 1e-12
WIDTH, HEADS, LAYERS, HIDDEN = 384, 12, 6, 1536
PIECES, PLACES = 30_522, 512


class Layer(nn.Module):
    """Attention and a net of two layers, each beside a way around it and normalised after that."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.merge = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.widen, self.narrow = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.attended, self.finished = (nn.LayerNorm(WIDTH, EPSILON) for _ in range(2))

    def forward(self, found: Tensor, absent: Tensor) -> Tensor:
        """Vectors [batch, n, width]; `absent` [batch, 1, 1, n] is far below 0 where no piece is."""
        query, key, value = (_by_head(layer(found)) for layer in (self.query, self.key, self.value))
        likeness = query @ key.transpose(2, 3) / (WIDTH // HEADS) ** 0.5 + absent
        seen = (likeness.softmax(dim=3) @ value).transpose(1, 2).flatten(2)
        found = self.attended(found + self.merge(seen))
        finished: Tensor = self.finished(found + self.narrow(functional.gelu(self.widen(found))))
        return finished


def _by_head(vectors: Tensor) -> Tensor:
    return vectors.reshape(*vectors.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)


class SentenceBert(nn.Module):
    """Numbers of word pieces [batch, n], 0 where there is none, to the mean of their vectors [batch, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces, self.places = nn.Embedding(PIECES, WIDTH, padding_idx=0), nn.Embedding(PLACES, WIDTH)
        self.kind = nn.Parameter(torch.zeros(WIDTH))
        self.begun = nn.LayerNorm(WIDTH, EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, pieces: Tensor) -> Tensor:
        """In chunks of rows of like length where it is not exported: else all would be as long as the longest."""
        if torch.compiler.is_exporting():
            return self._mean(pieces)
        lengths = (pieces > 0).sum(dim=1)
        order = lengths.argsort(stable=True)
        chunks = [self._mean(pieces[rows, : lengths[rows].max()]) for rows in torch.split(order, CHUNK)]
        return torch.cat(chunks)[order.argsort()]

    def _mean(self, pieces: Tensor) -> Tensor:
        there = pieces > 0
        found = self.begun(self.pieces(pieces) + self.places.weight[: pieces.shape[1]] + self.kind)
        absent = torch.where(there, 0.0, -1e9)[:, None, None, :]
        for layer in self.layers:
            found = layer(found, absent)
        shares = (there / there.sum(dim=1, keepdim=True))[:, None, :]
        return torch.squeeze(shares @ found, 1)


NAMES = {
    "embeddings.word_embeddings": "pieces",
    "embeddings.position_embeddings": "places",
    "embeddings.LayerNorm": "begun",
    "encoder.layer": "layers",
    "attention.self.": "",
    "attention.output.dense": "merge",
    "attention.output.LayerNorm": "attended",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "finished",
}


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of Hugging Face's BertModel become the state of a SentenceBert."""
    found = {"kind": weights["embeddings.token_type_embeddings.weight"][0]}
    for name, tensor in weights.items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        found[name] = tensor
    return {name: tensor for name, tensor in found.items() if not name.startswith(("pooler", "embeddings"))}
