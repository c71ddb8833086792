"""The measure of gateway and inference alone goes on fitting them."""

import pytest

from benchmarks.path_parts import GatewayPath, InferencePath, Measured


@pytest.mark.parametrize("path", [GatewayPath, InferencePath])
async def test_every_turn_is_answered(path: type[GatewayPath | InferencePath]) -> None:
    started: Measured = await path.started(3)
    for _ in range(3):
        await started.turn()
        assert started.left == 0
