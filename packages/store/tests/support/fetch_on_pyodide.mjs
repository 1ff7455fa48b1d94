// The store's way out of a Worker, on Pyodide in Node: `fetch` against a server on loopback. Orders
// come as JSON: { pyodide, source, wheels, url, gone }; the last line that it prints is what it saw.
import process from "node:process";

const order = JSON.parse(process.argv[2]);
const unheard = [];
// A promise that is given up and fails then must be somebody's: a Worker logs what is nobody's.
process.on("unhandledRejection", (error) => unheard.push(String(error)));
const { loadPyodide } = await import(`${order.pyodide}/pyodide.mjs`);
const python = await loadPyodide({ env: { HOME: "/", PYTHONDONTWRITEBYTECODE: "1" } });
const mount = (where, root) => {
  python.FS.mkdirTree(where);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, where);
};
mount("/source", order.source);
mount("/wheels", order.wheels);
python.globals.set("url", order.url);
python.globals.set("gone", order.gone);
const seen = await python.runPythonAsync(`
import asyncio, json, sys
sys.path[:0] = ["/source", "/wheels"]
import httpx
from shimmy_store.adapters.js_fetch_transport import JsFetchTransport

async def ask(client, method, where, **more):
    try:
        reply = await client.request(method, where, **more)
    except httpx.HTTPError as error:
        return type(error).__name__
    return [reply.status_code, reply.headers.multi_items(), reply.text[:20_000], len(reply.content)]

async def leave(client):
    """Somebody who goes away in the middle."""
    asking = asyncio.ensure_future(client.get("/silent?left"))
    await asyncio.sleep(0.8)
    asking.cancel()
    try:
        await asking
    except asyncio.CancelledError:
        return "left"

async def run():
    transport = JsFetchTransport()
    async with httpx.AsyncClient(transport=transport, base_url=url, timeout=30) as client:
        headers = [("X-Two", "a"), ("X-Two", "b"), ("Authorization", "Bearer é".encode("latin-1"))]
        text = "é🦀" * 3
        seen = {
            "echo": await ask(client, "POST", "/echo?a=%20b&c=é", content=text.encode(), headers=headers),
            "bodiless": await ask(client, "DELETE", "/echo"),
            "head": await ask(client, "HEAD", "/echo"),
            "redirect": await ask(client, "POST", "/redirect", content=b"x"),
            "gzip": await ask(client, "GET", "/gzip"),
            "nothing": await ask(client, "GET", "/nothing"),
            "refused": await ask(client, "GET", "/refused"),
            "large": await ask(client, "POST", "/large", content=b"x" * 3_000_000),
            "endless": await ask(client, "GET", "/endless"),
            "half": await ask(client, "GET", "/half"),
            "cut": await ask(client, "GET", "/cut"),
            "gone": await ask(client, "GET", gone),
            "odd": await ask(client, "GET", "/echo", headers={"X-Odd": "a\\x01b"}),
            "silent": await ask(client, "GET", "/silent?late", timeout=0.8),
            "drips": await ask(client, "GET", "/drips", timeout=0.8),
            "left": await leave(client),
        }
        # And it still works for the next one.
        seen["again"] = (await ask(client, "GET", "/nothing"))[0]
    return json.dumps(seen)

await run()
`);
// Whoever is given up learns of it a little later.
await new Promise((resolve) => setTimeout(resolve, 100));
process.stdout.write(`${JSON.stringify({ ...JSON.parse(seen), unheard })}\n`);
process.exit(0);
