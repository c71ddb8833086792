"""What is kept of a task that failed, as the parent of its process knows it."""

from shared.rpc.tasks import TaskFailure
from shared.tasks.run import TaskFailed, TaskRun

MESSAGE_CHARACTERS = 4000
LINE_CHARACTERS = 500


def failure_of(run: TaskRun, error: BaseException) -> TaskFailure:
    """Where this attempt had no process, how the one before it ended still counts."""
    found = TaskFailure(
        error_class=error.error_class if isinstance(error, TaskFailed) else type(error).__name__,
        message=_storable(str(error), MESSAGE_CHARACTERS),
        log=[_storable(line, LINE_CHARACTERS) for line in run.log.last_lines],
    )
    if process := run.process:
        ended = {name: getattr(process, name) for name in ("exit_signal", "exit_code", "peak_memory")}
    else:
        ended = {
            name: value for name, value in (run.task.failure or {}).items() if name not in ("error_class", "message")
        }
    return found.model_copy(update=ended)


def _storable(text: str, characters: int) -> str:
    """PostgreSQL has no NUL, and nobody reads megabytes."""
    return text.replace("\0", "").encode(errors="replace").decode()[:characters]
