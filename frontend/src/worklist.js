// The worklist: it refreshes itself, and several of its studies can be chosen.
import { Idiomorph } from "idiomorph";

import { localTimes } from "./times.js";

// Milliseconds between requests while a study waits, and otherwise; none while the page is hidden.
const [WAITING_MS, IDLE_MS] = [1000, 5000];

const table = () => document.getElementById("studies");
const boxes = () => [...table().querySelectorAll("input[name=study]")];

// Replaces changed rows only: the others keep focus, selected text and checked boxes.
function redraw(html) {
  const loaded = new DOMParser().parseFromString(html, "text/html").getElementById("studies");
  localTimes(loaded);
  Idiomorph.morph(table(), loaded, {
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
  const response = await fetch(address, { headers, cache: "no-store" });
  if (response.status === 401) location.assign(response.headers.get("HX-Redirect"));
  const html = response.status === 200 ? await response.text() : null;
  // Another list was opened during the request.
  if (address !== location.href) return;
  if (html || response.status === 304) version = response.headers.get("ETag");
  if (html) redraw(html);
}

export async function refreshList() {
  if (document.hidden || table().closest(".htmx-request")) return;
  await refresh().catch(() => {});
}

async function poll() {
  await refreshList();
  setTimeout(poll, "waiting" in table().dataset ? WAITING_MS : IDLE_MS);
}

function countChosen() {
  const chosen = boxes().filter((box) => box.checked).length;
  const words = chosen === 1 ? "1 study is chosen" : `${chosen} studies are chosen`;
  const status = document.getElementById("chosen");
  // Screen readers would read the same text again if it were set again.
  if (status.dataset.count !== String(chosen)) status.textContent = chosen ? words : "No study is chosen";
  status.dataset.count = chosen;
  for (const button of document.querySelectorAll("#bulk button")) button.disabled = !chosen;
  const all = document.getElementById("choose-all");
  if (!all) return;
  all.checked = chosen > 0 && chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
}

// Back, pressed twice quickly, may change the address before this script listens: load the list of the new address.
// Each entry of the history is reloaded once only, so that a proxy that rewrites queries causes no loop.
function loadListOfAddress() {
  const { query } = document.getElementById("filters").dataset;
  if (query === location.search.slice(1) || history.state?.loadedAgain) return;
  history.replaceState({ ...history.state, loadedAgain: true }, "");
  location.reload();
}

// What was typed, chosen or checked before this script listened counts as well.
function takeUp() {
  const form = document.getElementById("filters");
  const served = ({ options, defaultValue }) => (options ? ([...options].find((option) => option.defaultSelected) ?? options[0]).value : defaultValue);
  // htmx follows the form from this event on.
  if ([...form.elements].some((field) => field.value !== served(field))) document.addEventListener("DOMContentLoaded", () => window.htmx.trigger(form, "submit"));
  if (document.getElementById("choose-all")?.checked) for (const box of boxes()) box.checked = true;
}

export function followWorklist() {
  loadListOfAddress();
  takeUp();
  document.addEventListener("change", (event) => {
    if (event.target.id === "choose-all") for (const box of boxes()) box.checked = event.target.checked;
    if (table().contains(event.target)) countChosen();
  });
  document.addEventListener("htmx:afterSwap", () => { version = null; countChosen(); });
  document.addEventListener("visibilitychange", refreshList);
  countChosen();
  setTimeout(poll, "waiting" in table().dataset ? WAITING_MS : IDLE_MS);
}
