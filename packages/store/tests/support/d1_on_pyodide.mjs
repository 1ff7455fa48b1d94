// The store's adapter for D1 on Pyodide, with a binding to real local D1 that miniflare makes. Orders
// come as JSON: { npm, source, state }; the last line of what it prints is what it saw, as JSON.
import process from "node:process";
import { createRequire } from "node:module";

const order = JSON.parse(process.argv[2]);
const { Miniflare } = createRequire(`${order.npm}/`)("miniflare");
const { loadPyodide } = await import(`${order.npm}/pyodide/pyodide.mjs`);
const flare = new Miniflare({
  modules: true,
  script: "export default { fetch() { return new Response(); } }",
  compatibilityDate: "2026-03-31",
  d1Databases: { DB: "local" },
  d1Persist: order.state,
});
try {
  const [binding, python] = await Promise.all([
    flare.getD1Database("DB"),
    loadPyodide({ env: { HOME: "/", PYTHONDONTWRITEBYTECODE: "1" } }),
  ]);
  python.FS.mkdirTree("/source");
  python.FS.mount(python.FS.filesystems.NODEFS, { root: order.source }, "/source");
  python.globals.set("binding", binding);
  const seen = await python.runPythonAsync(`
import json, sys
from datetime import UTC, datetime
sys.path.insert(0, "/source")
from shimmy_store.adapters.d1_binding import D1Binding
from shimmy_store.adapters.d1_database import D1Database
from shimmy_store.adapters.ledger_schema import check_ledger, migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Statement

database = D1Database(D1Binding(binding))
steps = [await migrate_ledger(database), await migrate_ledger(database)]
await check_ledger(database)
insert = "INSERT INTO kept VALUES (?, ?, ?)"
*_, rows = await database.batch([
    Statement("CREATE TABLE kept (number BIGINT, text TEXT, more TEXT)"),
    Statement(insert, (2**53 - 1, "é\\x01🦀'\\"?", None)),
    Statement(insert, (None, "", None)),
    Statement("SELECT number, text, more FROM kept ORDER BY rowid"),
])
try:
    await database.batch([
        Statement(insert, (1, "", "")),
        Statement("INSERT INTO migrations (number) VALUES (1)"),
    ])
    refused = []
except LedgerError as error:
    refused = [error.code, error.retryable, "migrations.number" in error.message]
((kept,),) = (await database.batch([Statement("SELECT COUNT(*) FROM kept")]))[0]
stock = (await SqlLedger(database).take_stock()).messages_waiting
json.dumps({"steps": steps, "rows": rows, "refused": refused, "kept": kept, "stock": stock})
`);
  process.stdout.write(`${seen}\n`);
} finally {
  await flare.dispose();
}
