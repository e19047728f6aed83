// The worklist keeps itself up to date, and lets several studies be chosen.
import { Idiomorph } from "idiomorph";

import { localTimes } from "./times.js";

// While something waits for its answer, and else; a page that nobody sees asks nothing.
const [SOON, LATER] = [1000, 5000];

const table = () => document.getElementById("studies");
const boxes = () => [...table().querySelectorAll("input[name=study]")];

// Rows that are the same stay as they are, with focus, selected text and checked boxes.
function redraw(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("studies");
  localTimes(fresh);
  Idiomorph.morph(table(), fresh, {
    callbacks: {
      beforeNodeMorphed: (old, next) => {
        if (old.type === "checkbox") next.checked = old.checked;
        return true;
      },
    },
  });
  window.htmx.process(table());
  countChosen();
}

let version = null;
async function refresh() {
  const address = location.href;
  const headers = { "HX-Request": "true", "HX-Current-URL": address, "X-Meninx-Poll": "1", ...(version ? { "If-None-Match": version } : {}) };
  const answer = await fetch(address, { headers, cache: "no-store" });
  if (answer.status === 401) location.assign(answer.headers.get("HX-Redirect"));
  const html = answer.status === 200 ? await answer.text() : null;
  // Another list was asked for meanwhile.
  if (address !== location.href) return;
  if (html || answer.status === 304) version = answer.headers.get("ETag");
  if (html) redraw(html);
}

export async function refreshList() {
  if (document.hidden || table().closest(".htmx-request")) return;
  await refresh().catch(() => {});
}

async function keepUp() {
  await refreshList();
  setTimeout(keepUp, "waiting" in table().dataset ? SOON : LATER);
}

function countChosen() {
  const chosen = boxes().filter((box) => box.checked).length;
  const words = chosen === 1 ? "1 study is chosen" : `${chosen} studies are chosen`;
  const told = document.getElementById("chosen");
  // What is said again in the same words would be read out again.
  if (told.dataset.count !== String(chosen)) told.textContent = chosen ? words : "No study is chosen";
  told.dataset.count = chosen;
  for (const button of document.querySelectorAll("#bulk button")) button.disabled = !chosen;
  const all = document.getElementById("choose-all");
  if (!all) return;
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
}

export function followWorklist() {
  document.addEventListener("change", (event) => {
    if (event.target.id === "choose-all") for (const box of boxes()) box.checked = event.target.checked;
    if (table().contains(event.target)) countChosen();
  });
  document.addEventListener("htmx:afterSwap", () => { version = null; countChosen(); });
  document.addEventListener("visibilitychange", refreshList);
  countChosen();
  setTimeout(keepUp, "waiting" in table().dataset ? SOON : LATER);
}
