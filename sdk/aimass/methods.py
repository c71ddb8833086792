"""How one declaration of a method serves both clients: whoever has it runs what it describes, or awaits it."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from aimass.calls import Items, Steps

P = ParamSpec("P")
T = TypeVar("T")


class Waiting:
    """A client whose caller waits."""

    def run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def each(self, items: Items[T]) -> Generator[T, None, None]:
        raise NotImplementedError


class Awaiting:
    """A client whose caller awaits."""

    async def run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def each(self, items: Items[T]) -> AsyncGenerator[T, None]:
        raise NotImplementedError


class Method(Generic[P, T]):
    """A method of both clients, declared by the steps that it takes."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Waiting, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else _bound(self._describe, client, client.run)


class Stream(Generic[P, T]):
    """A method of both clients that gives one thing after another."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Items[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Waiting, owner: type) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncGenerator[T, None]]: ...

    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else _bound(self._describe, client, client.each)


def _bound(describe: Callable[..., Any], client: Any, run: Callable[[Any], Any]) -> Callable[..., Any]:
    @wraps(describe)
    def bound(*arguments: Any, **options: Any) -> Any:
        return run(describe(client, *arguments, **options))

    return bound


method = Method
stream = Stream
