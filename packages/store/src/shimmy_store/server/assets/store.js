// What pages do beyond plain HTML; without it they work all the same.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it";
    }
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
      waiting.textContent = "This takes longer than usual. Your licence comes by mail; you may close this page.";
      return;
    }
    setTimeout(poll, tries > 30 ? 1000 : 4000, tries - 1);
  };
  setTimeout(poll, 1000, 60);
}
