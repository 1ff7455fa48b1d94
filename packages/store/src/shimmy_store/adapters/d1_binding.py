"""The way to D1 through a Worker's binding; it runs on Pyodide and nowhere else."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from shimmy_store.adapters.d1_database import D1Failure


class D1Binding:
    """See ``d1_database.D1Wire``; ``binding`` is ``env.DB``."""

    def __init__(self, binding: Any) -> None:
        self._binding = binding

    async def __call__(self, batch: str) -> str:
        # Here and by name, since only Pyodide has them.
        js, ffi = import_module("js"), import_module("pyodide.ffi")

        prepared = js.Array.new()
        try:
            # Values stay JavaScript's own: a None that crosses over would be undefined there.
            for one in js.JSON.parse(batch):
                statement = self._binding.prepare(one[0])
                prepared.push(js.Reflect.apply(statement.bind, statement, one[1]))
            answers = await self._binding.batch(prepared)
            rows = js.Array.new()
            for answer in answers:
                rows.push(answer.results)
            return str(js.JSON.stringify(rows))
        except ffi.JsException as error:
            raise D1Failure(str(error)) from error
