// Runs a Worker's Python as Cloudflare does, on Pyodide in Node: the bundle that would be deployed,
// its entry point, and a D1 binding over SQLite. Orders come as JSON: { pyodide, bundle, ledger,
// migrations, vars, port, now }; it prints a line once it answers.
//
// POST /__host/tick?cron=… is the clock; /__host/idle waits for what goes on after answers, and says
// what CPU time all of it took; /__host/d1 takes batches for the ledger as the test bridge does. With
// a `now`, time stands still but for /__host/clock?now=…, and every second is the runtime's minute.
import { createServer } from "node:http";
import { Buffer } from "node:buffer";
import process from "node:process";

const order = JSON.parse(process.argv[2]);
let now = order.now;
const real = Date.now.bind(Date);
Date.now = () => now ?? real();
const { loadPyodide } = await import(`${order.pyodide}/pyodide.mjs`);
const python = await loadPyodide({ env: { HOME: "/", PYTHONDONTWRITEBYTECODE: "1" } });
const mount = (where, root) => {
  python.FS.mkdirTree(where);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, where);
};
const modules = "/session/metadata/python_modules";
mount(modules, `${order.bundle}/python_modules`);
mount("/session/metadata/src", `${order.bundle}/src`);
mount("/ledger", order.ledger);

// What the runtime brings beside Pyodide.
const waiting = new Set();
const waitUntil = (promised) => {
  const kept = Promise.resolve(promised.then((one) => one)).finally(() => waiting.delete(kept));
  waiting.add(kept);
};
const context = { waitUntil };
python.registerJsModule("_cloudflare_compat_flags", {});
python.registerJsModule("_pyodide_entrypoint_helper", {
  patchWaitUntil: () => undefined,
  cloudflareWorkersModule: { waitUntil },
});
python.runPython(`
import sys
sys.path[:0] = ["${modules}", "/session/metadata/src"]
`);

// D1's own interface, as far as the store uses it; named as D1's class, by which it is known.
const run = await python.runPythonAsync(`
import json, sqlite3

_connection = sqlite3.connect("/ledger/d1.sqlite", isolation_level=None)
_connection.row_factory = sqlite3.Row

def run(batch):
    _connection.execute("BEGIN")
    try:
        answers = [
            [dict(row) for row in _connection.execute(sql, values).fetchall()]
            for sql, values in json.loads(batch)
        ]
        _connection.execute("COMMIT")
    except BaseException:
        if _connection.in_transaction:
            _connection.execute("ROLLBACK")
        raise
    return json.dumps(answers)

def migrate(sql):
    if not _connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchall():
        _connection.executescript(sql)

run
`);
python.globals.get("migrate")(order.migrations);
class D1Database {
  prepare(sql) {
    return { sql, values: [], bind: (...values) => ({ sql, values }) };
  }
  async batch(statements) {
    let answers;
    try {
      answers = run(JSON.stringify(statements.map((one) => [one.sql, one.values])));
    } catch (error) {
      throw new Error(`D1_ERROR: ${String(error.message).trim().split("\n").at(-1)}`);
    }
    return JSON.parse(answers).map((results) => ({ results, success: true }));
  }
}
const bindings = { ...order.vars, DB: new D1Database() };
const entry = python.pyimport("entry");
const open = () => entry.Default(context, bindings);

const tick = (cron) => open().scheduled({ cron });
const minute = () => waitUntil(tick("* * * * *").then(() => undefined, (error) => {
  process.stderr.write(`${error.stack ?? error}\n`);
}));
if (now !== null) setInterval(() => waiting.size || minute(), 1000);

const answer = async (incoming, outgoing) => {
  const parts = [];
  for await (const part of incoming) parts.push(part);
  const url = new URL(incoming.url, `http://${incoming.headers.host}`);
  if (url.pathname === "/__host/tick") {
    await tick(url.searchParams.get("cron"));
    return outgoing.end("{}");
  }
  if (url.pathname === "/__host/clock") {
    now = Number(url.searchParams.get("now"));
    // Not awaited: whoever moves it may be the one that is asked in it.
    minute();
    return outgoing.end("{}");
  }
  if (url.pathname === "/__host/d1") {
    try {
      return outgoing.end(run(Buffer.concat(parts).toString()));
    } catch (error) {
      outgoing.writeHead(500);
      return outgoing.end(`D1_ERROR: ${String(error.message).trim().split("\n").at(-1)}`);
    }
  }
  if (url.pathname === "/__host/idle") {
    while (waiting.size) await Promise.allSettled([...waiting]);
    const { user, system } = process.cpuUsage();
    return outgoing.end(JSON.stringify({ cpu_seconds: (user + system) / 1e6 }));
  }
  const headers = new Headers();
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i], incoming.rawHeaders[i + 1]);
  }
  headers.set("cf-connecting-ip", incoming.socket.remoteAddress);
  const bodiless = ["GET", "HEAD"].includes(incoming.method);
  const body = bodiless ? undefined : Buffer.concat(parts);
  const request = new Request(url, { method: incoming.method, headers, body });
  const given = await open().fetch(request);
  const response = given instanceof Response ? given : given.js_object;
  const told = [...response.headers].filter(([name]) => name !== "set-cookie");
  const cookies = response.headers.getSetCookie();
  outgoing.writeHead(response.status, [
    ...told.flat(),
    ...cookies.flatMap((one) => ["set-cookie", one]),
  ]);
  outgoing.end(Buffer.from(await response.arrayBuffer()));
};
const server = createServer((incoming, outgoing) => {
  answer(incoming, outgoing).catch((error) => {
    process.stderr.write(`${error.stack ?? error}\n`);
    outgoing.writeHead(500).end();
  });
});
// Whoever started it is gone: so is this.
process.stdin.on("end", () => process.exit(0)).resume();
server.listen(order.port, "127.0.0.1", () => {
  process.stdout.write("ready\n");
});
