"""The catalogue of peers is whole; what was asked for is understood or refused in words."""

import re

import httpx
import numpy as np
import pytest

from benchmarks import data_plane
from benchmarks.brought import answer, digit, digits_mlp
from benchmarks.cases import CASES, QUICK
from benchmarks.events.scenes import PEER as PROCRASTINATE
from benchmarks.peers import PEERS, ROOT, Peer, chosen
from benchmarks.training.loops import LOOPS

PINNED = {"mlserver": "1.7.1", "bentoml": "1.4.39", "litserve": "0.2.19", "ray": "2.60.0"}


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_is_locked_and_has_a_server(peer: Peer) -> None:
    lines = peer.lock.read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    assert peer.version == PINNED[peer.package]
    assert any(line.startswith("onnxruntime==") for line in lines)
    assert (peer.folder / "server.py").is_file()
    assert peer.version in peer.label


def test_no_folder_is_without_a_peer() -> None:
    folders = {path for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    loops = {ROOT / loop.peer for loop in LOOPS if loop.peer}
    assert folders == {peer.folder for peer in PEERS} | loops | {PROCRASTINATE}
    assert len({peer.label for peer in PEERS}) == len(PEERS), "results are by label"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_row_goes_into_a_body_whole(peer: Peer) -> None:
    row = digit()
    body = peer.encode(row)
    if peer.content_type == "application/json":
        numbers = [float(number) for number in re.findall(rb"\d+\.\d+", body)]
    else:
        numbers = np.frombuffer(body, "<f4").tolist()
    assert numbers == row.tolist()


REPLIES = {
    "mlserver": httpx.Response(200, json={"outputs": [{"name": "logits", "data": [1.0, 2.0]}]}),
    "bentoml": httpx.Response(200, json=[[1.0, 2.0]]),
    "litserve": httpx.Response(200, json={"logits": [1.0, 2.0]}),
    "ray_serve": httpx.Response(200, content=np.array([1, 2], "<f4").tobytes()),
}


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_the_logits_are_found_in_an_answer(peer: Peer) -> None:
    assert peer.decode(REPLIES[peer.folder.name]).ravel().tolist() == [1.0, 2.0]


def test_the_network_reads_the_digit_and_is_the_same_each_time() -> None:
    model = digits_mlp(16)
    logits = answer(model, digit()[None])
    assert logits.shape == (1, 10)
    assert logits.argmax() == 1, "the data set's second digit is a one"
    assert np.allclose(answer(digits_mlp(16), digit()[None]), logits)


def test_peers_are_chosen_by_name() -> None:
    assert chosen("all") == PEERS
    assert [peer.name for peer in chosen("ray_serve, litserve")] == ["litserve", "ray_serve"]
    with pytest.raises(ValueError, match="no peer is called torchserve; there are"):
        chosen("litserve,torchserve")


def test_what_is_not_said_stays_quick() -> None:
    given = data_plane.parser().parse_args([])
    assert (given.cases, given.peers, given.seconds, given.rounds) == (QUICK, (), 4, 3)
    given = data_plane.parser().parse_args(["--peers", "--cases", "all", "--rounds", "5"])
    assert (given.cases, given.peers, given.rounds) == (tuple(CASES), PEERS, 5)
    given = data_plane.parser().parse_args(["--peers=litserve", "--cases=grpc,mlp"])
    assert (given.cases, [peer.name for peer in given.peers]) == (("mlp", "grpc"), ["litserve"])


@pytest.mark.parametrize(
    "words", ["--peers=no", "--cases=no", "--cases=", "--seconds=0", "--seconds=61", "--rounds=x", "--rounds=21"]
)
def test_other_words_are_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        data_plane.parser().parse_args([words])
    assert "error: argument --" in capsys.readouterr().err
