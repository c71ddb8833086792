"""From sound to text with Whisper: the likeliest token after another, in torch and as the parts of a graph."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from library.networks.whisper import Decoder, Whisper
from library.training.objectives import as_bytes

if TYPE_CHECKING:
    import onnx

NEVER = -1e9


class Prompt(NamedTuple):
    """The two tokens before all text, that after it, and how many there may be."""

    begin: int
    second: int
    end: int
    most: int


class Step(nn.Module):
    """The next token, where `never` and at the first place of text `not_first` are not among the choices."""

    def __init__(self, decoder: Decoder, prompt: Prompt, never: Sequence[int], not_first: Sequence[int]) -> None:
        super().__init__()
        self.decoder, self.prompt = decoder, prompt
        self.never: Tensor
        self.not_first: Tensor
        for name, tokens in (("never", never), ("not_first", not_first)):
            barred = torch.zeros(decoder.embeddings.num_embeddings)
            barred[list(tokens)] = NEVER
            self.register_buffer(name, barred, persistent=False)

    def forward(self, token: Tensor, place: Tensor, said: Tensor, *heard: Tensor) -> tuple[Tensor, Tensor]:
        scores, kept = self.decoder(token, place, said, heard)
        best = (scores + self.never + (place == 1) * self.not_first).argmax(dim=1)
        return torch.where(place == 0, torch.full_like(best, self.prompt.second), best), kept


class Listener(nn.Module):
    """Samples [batch, n] to text, as bytes [batch, m] that end with zeros.

    `pieces` has the text of each token, and then that of each where it is the first.
    """

    def __init__(self, whisper: Whisper, step: Step, pieces: Sequence[str]) -> None:
        super().__init__()
        self.whisper, self.step, self.pieces = whisper, step, pieces

    def forward(self, audio: Tensor) -> Tensor:
        tokens = self._tokens(audio).tolist()
        return as_bytes([self._text(row) for row in tokens])

    def _tokens(self, audio: Tensor) -> Tensor:
        """Tokens [batch, m] from the first of the text on."""
        prompt, heard = self.step.prompt, self.whisper(audio)
        token = torch.full((len(audio),), prompt.begin)
        said, is_over, found = self.whisper.nothing_said(len(audio)), torch.zeros(len(audio), dtype=torch.bool), []
        for place in range(prompt.most):
            token, said = self.step(token, torch.tensor(place), said, *heard)
            is_over |= token == prompt.end
            token = token.where(~is_over, prompt.end)
            found.append(token)
            if is_over.all():
                break
        return torch.stack(found[1:], dim=1)

    def _text(self, tokens: Sequence[int]) -> bytes:
        half = len(self.pieces) // 2
        first, *rest = tokens
        return "".join([self.pieces[half + first], *map(self.pieces.__getitem__, rest)]).encode()

    @torch.no_grad()
    def graph(self) -> "onnx.ModelProto":
        """Samples to text in one graph."""
        from library.graphs.export import trace
        from library.graphs.greedy import speak

        audio = torch.zeros(2, self.whisper.sizes.rate)
        heard = [f"heard_{number}" for number in range(2 * self.whisper.sizes.layers)]
        ear = trace(self.whisper, {"audio": audio}, heard, {"audio": (0, 1)})
        said = self.whisper.nothing_said(2)
        inputs = {"token": torch.zeros(2, dtype=torch.int64), "place": torch.tensor(3)}
        inputs |= {"said": torch.cat([said, said.new_zeros(*said.shape[:3], 3, said.shape[4])], dim=3)}
        inputs |= dict(zip(heard, self.whisper(audio), strict=True))
        free = {"token": (0,), "said": (1, 3), **dict.fromkeys(heard, (0,))}
        step = trace(self.step, inputs, ["next", "kept"], free)
        return speak(ear, step, self.pieces, self.step.prompt.begin, self.step.prompt.end, self.step.prompt.most)
