"""Tells whether a member of the library is fit for it: declared, documented, trained, exported, and as good as it says.

Training and scoring run in the very processes that the platform runs for its tasks.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import library
from deploy.model_checks import CHECKS, LAYERS, Bench, Check
from shared.errors import NotFound


def verdicts(bench: Bench, checks: Sequence[Check] = CHECKS) -> bool:
    """Print a line for each check, in order; whether all hold. After one that others need, the rest is not reached."""
    failed = 0
    for check in checks:
        try:
            told, is_well = check.run(bench), True
        except Exception as error:  # a member's own code may raise anything
            told, is_well = f"{type(error).__name__}: {error}".removeprefix("NotFit: "), False
        print(f"{'ok    ' if is_well else 'FAILED'}  {check.name:<12} {told}", flush=True)
        failed += not is_well
        if check.is_needed and not is_well:
            print("what follows needs this and was not tried")
            break
    fit = "fit for the library" if bench.is_whole else "fit, as far as so few epochs can tell"
    print(f"\n{bench.model.name}: {f'{failed} to be put right' if failed else fit}")
    return not failed


def with_layers(checks: Sequence[Check]) -> Sequence[Check]:
    """The checks with that of the layers before the one that needs the training to have gone well: the export."""
    place = [check.name for check in checks].index("export")
    return (*checks[:place], LAYERS, *checks[place:])


def main() -> None:
    parser = argparse.ArgumentParser(prog="just check-model", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="the member of the library")
    parser.add_argument("--epochs", type=int, help="train so few epochs: gate and baseline are then told, not judged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", action="store_true", help="compare PyTorch and ONNX layer by layer too")
    parser.add_argument("--onnx", type=Path, help="with --layers: this file of such a training, not the exported one")
    chosen = parser.parse_args()
    try:
        model = library.model(chosen.name)
    except NotFound as error:
        sys.exit(f"check-model: {error}")
    with tempfile.TemporaryDirectory(prefix="aimass-check-") as folder:
        bench = Bench(model, Path(folder), chosen.epochs, chosen.seed, graph=chosen.onnx)
        sys.exit(0 if verdicts(bench, with_layers(CHECKS) if chosen.layers or chosen.onnx else CHECKS) else 1)


if __name__ == "__main__":
    main()
