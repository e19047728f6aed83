// Script of every page: the live worklist (htmx), the theme, uploads.
import htmx from "htmx.org";

import { enable } from "./controls.js";
import { localTimes } from "./times.js";
import { followChoosing } from "./upload/choosing.js";
import { followWorklist } from "./worklist.js";

window.htmx = htmx;

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
document.addEventListener("click", (event) => {
  if (!event.target.closest("#theme")) return;
  const shown = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
  const next = shown === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
});

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset?.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

localTimes(document);
document.addEventListener("htmx:afterSettle", (event) => localTimes(event.detail.elt.ownerDocument));
document.addEventListener("htmx:load", (event) => enable("app", event.detail.elt));
if (document.getElementById("studies")) followWorklist();
const drop = document.getElementById("drop");
if (drop) followChoosing(drop);
enable("app");
// The page says by itself that its script is missing, unless this is set; also where another script does not come.
const { dataset } = document.documentElement;
dataset.script = "1";
window.addEventListener("error", (event) => { if (event.target instanceof HTMLScriptElement) delete dataset.script; }, true);
