// What pages do beyond plain HTML; without it they work all the same.
"use strict";

// Shown for as long as somebody looks at it, then the button says again what it does.
const FEEDBACK_MILLISECONDS = 4000;

async function copyFrom(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    // Marked, it is one key stroke away.
    getSelection().selectAllChildren(source);
    return false;
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const said = document.getElementById(button.dataset.said);
  const label = button.textContent;
  let later = 0;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const copied = await copyFrom(source);
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    said.textContent = copied ? "The key is in the clipboard." : "The key is marked: press Control C to copy it.";
    clearTimeout(later);
    later = setTimeout(() => { button.textContent = label; said.textContent = ""; }, FEEDBACK_MILLISECONDS);
  });
}

// A form sent twice begins one purchase anyway; this only saves the second wait.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => {
    setTimeout(() => form.querySelectorAll("button").forEach((one) => { one.disabled = true; }), 0);
  });
}
window.addEventListener("pageshow", () => {
  document.querySelectorAll("button[disabled]").forEach((one) => { one.disabled = false; });
});

const waiting = document.querySelector("[data-poll]");
if (waiting) {
  const poll = async (tries) => {
    try {
      const answer = await fetch(location.href, { headers: { accept: "application/json" } });
      if (answer.ok && (await answer.json()).state !== "preparing") return location.reload();
    } catch { /* asked again below */ }
    if (tries === 0) {
      waiting.textContent = "This takes longer than usual. Nothing is lost: your licence comes by mail, and you may close this page.";
      return;
    }
    setTimeout(poll, tries > 30 ? 1000 : 4000, tries - 1);
  };
  setTimeout(poll, 1000, 60);
}
