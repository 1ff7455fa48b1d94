# Pyodide's, as far as src/entry.py asks for it.
from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")

class JsDoubleProxy(Generic[_Result]):
    def destroy(self) -> None: ...
    def __await__(self) -> Generator[Any, Any, _Result]: ...

def create_proxy(obj: Awaitable[_Result], /) -> JsDoubleProxy[_Result]: ...
