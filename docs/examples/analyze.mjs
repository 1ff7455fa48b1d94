// Shimmy Vision with Node's own fetch:  shimmy serve &  node analyze.mjs shot.png
import { readFile } from "node:fs/promises";

const server = process.env.SHIMMY_SERVER ?? "http://127.0.0.1:8750";
// A key is wanted only by a server that has some; another one ignores it.
const headers = { Authorization: `Bearer ${process.env.SHIMMY_API_KEY ?? "none"}` };
const image = new Blob([await readFile(process.argv[2])]);

async function ask(fields, more = {}) {
  const form = new FormData();
  form.set("file", image, "image");
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  const response = await fetch(`${server}/api/vision`, {
    method: "POST",
    headers: { ...headers, ...more },
    body: form,
  });
  if (!response.ok) {
    const { error } = await response.json();
    throw new Error(`${error.message} ${error.hint} (${error.code})`);
  }
  return response;
}

// One answer.
const result = await (await ask({ mode: "ocr" })).json();
for (const block of result.text_blocks) console.log("text:", block.text);

// Events, as they happen: a name, JSON and an empty line each.
const response = await ask({ mode: "brief" }, { Accept: "text/event-stream" });
let rest = "";
for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
  const blocks = (rest + piece).split("\n\n");
  rest = blocks.pop();
  for (const block of blocks) {
    const name = block.match(/^event: (.*)$/m)?.[1];
    if (!name) continue; // a comment that keeps the connection awake
    const data = JSON.parse(block.match(/^data: (.*)$/m)[1]);
    if (name === "progress") console.log("progress:", data.stage, data.percent);
    if (name === "result") console.log("background:", data.visual.background);
    if (name === "error") throw new Error(`${data.error.message} (${data.error.code})`);
  }
}
