"""The GPUs of the host, by NVIDIA's management library; a host without its driver has none."""

from collections.abc import Callable
from typing import Any

import pynvml

from shared import observe
from shared.rpc.monitor import Gpu


class Gpus:
    """Looks at each GPU; the driver is asked once whether it is there."""

    def __init__(self) -> None:
        self._handles = _handles()

    def sample(self) -> list[Gpu]:
        return [_sample(number, handle) for number, handle in enumerate(self._handles)]


def _handles() -> list[Any]:
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        observe.log().info("no GPU", reason=str(error))
        return []


def _sample(number: int, handle: Any) -> Gpu:
    utilization = _known(pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _known(pynvml.nvmlDeviceGetMemoryInfo, handle)
    name = _known(pynvml.nvmlDeviceGetName, handle)
    return Gpu(
        number=number,
        name=name or "",
        utilization_percent=utilization.gpu if utilization else None,
        memory_used=memory.used if memory else None,
        memory_total=memory.total if memory else None,
        temperature_celsius=_known(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
    )


def _known(question: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None where this GPU cannot tell."""
    try:
        return question(*arguments)
    except pynvml.NVMLError as error:
        observe.log().debug("GPU does not tell", question=question.__name__, error=str(error))
        return None
