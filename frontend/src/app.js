// Script of every page: the live worklist (htmx), the theme, uploads that continue after a lost connection.
import htmx from "htmx.org";

import { localTimes } from "./times.js";
import { followWorklist, refreshList } from "./worklist.js";

window.htmx = htmx;

const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";
const CHUNK = 4 * 1024 * 1024;
// Smaller files are sent in batches: a request for each would take longer than its bytes.
const BATCH_BYTES = 32 * 1024 * 1024;
const BATCH_FILES = 400;
const TRIES = 8;

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
document.getElementById("theme")?.addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
});

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset?.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

localTimes(document);
document.addEventListener("htmx:afterSettle", (event) => localTimes(event.detail.elt.ownerDocument));
if (document.getElementById("studies")) followWorklist();

async function ask(method, address, body, type) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const headers = { "X-CSRF-Token": csrf(), ...(type ? { "Content-Type": type } : {}) };
      const response = await fetch(address, { method, body, headers });
      const content = await response.json();
      if (response.ok) return content;
      if (response.status < 500 && response.status !== 429) throw Object.assign(new Refused(content.detail), { retried: attempt > 0 });
    } catch (error) {
      if (error instanceof Refused || attempt >= TRIES) throw error;
    }
    if (attempt >= TRIES) throw new Error("the server does not answer; try again later");
    await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** Math.min(attempt, 5)));
  }
}
class Refused extends Error {}

function batchesOf(files) {
  const batches = [];
  let bytes = Infinity;
  for (const [name, file] of files) {
    if (bytes + file.size > BATCH_BYTES || batches.at(-1).length >= BATCH_FILES) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1).push([name, file]);
    bytes += file.size;
  }
  return batches;
}

async function sendWhole(files, address, onBytes) {
  for (const batch of batchesOf(files)) {
    const form = new FormData();
    for (const [name, file] of batch) form.append("files", file, name);
    await ask("POST", `${address}/files`, form);
    onBytes(batch.reduce((sum, [, file]) => sum + file.size, 0));
  }
}

async function sendInParts([name, file], address, onBytes) {
  for (let offset = 0; offset < file.size; ) {
    const part = file.slice(offset, offset + CHUNK);
    const where = `${address}/parts?name=${encodeURIComponent(name)}&offset=${offset}`;
    const received = await ask("PUT", where, part, "application/octet-stream");
    onBytes(received.offset - offset);
    offset = received.offset;
  }
}

async function upload(files, { title, project, together, spacing }, onProgress, again = true) {
  const total = files.reduce((sum, [, file]) => sum + file.size, 0) || 1;
  let done = 0;
  const onBytes = (bytes) => onProgress((done += bytes) / total);
  const { id } = await ask("POST", "/api/v1/uploads", JSON.stringify({ title, project, spacing }), "application/json");
  const address = `/api/v1/uploads/${id}`;
  try {
    await sendWhole(files.filter(([, file]) => file.size <= CHUNK), address, onBytes);
    for (const large of files.filter(([, file]) => file.size > CHUNK)) await sendInParts(large, address, onBytes);
    return await ask("POST", `${address}/finish?together=${together}`);
  } catch (error) {
    // Delete an incomplete upload; if this request fails too, the server deletes it later.
    fetch(address, { method: "DELETE", headers: { "X-CSRF-Token": csrf() } }).catch(() => {});
    // After a lost response the upload may be stored already: a second upload then finds its studies.
    if (error.retried && again) return upload(files, { title, project, together, spacing }, onProgress, false);
    throw error;
  }
}

// A dropped folder is a tree of entries, which are read some at a time.
async function entriesOf(entry, into, path = "") {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    into.push([path + entry.name, file]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const children = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!children.length) return;
    for (const child of children) await entriesOf(child, into, `${path}${entry.name}/`);
  }
}

function summaryOf(studies) {
  const created = studies.filter((study) => study.created).length;
  const stored = studies.length - created;
  const sent = created === 1 ? "Sent; it is being scored." : `Sent: ${created} studies, which are being scored.`;
  const here = stored === 1 ? "One study was here already." : `${stored} studies were here already.`;
  return [created ? sent : "", stored ? here : ""].filter(Boolean).join(" ");
}

const drop = document.getElementById("drop");
if (drop) {
  const status = document.getElementById("upload-status");
  const words = document.getElementById("upload-words");
  const bar = document.getElementById("upload-progress");
  const send = async (files) => {
    if (!files.length) return;
    const title = files[0][0].split("/")[0];
    status.hidden = false;
    words.textContent = `Sending ${files.length} file${files.length > 1 ? "s" : ""}`;
    try {
      const together = document.getElementById("together").checked;
      const project = document.getElementById("project")?.value ?? "";
      const spacing = document.getElementById("spacing").value.trim();
      const { studies } = await upload(files, { title, project, together, spacing }, (share) => { bar.value = 100 * share; });
      words.textContent = summaryOf(studies);
      await refreshList();
    } catch (error) {
      words.textContent = `Not sent: ${error.message}`;
    }
  };
  const over = (on) => (event) => { event.preventDefault(); drop.classList.toggle("over", on); };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", async (event) => {
    over(false)(event);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const files = [];
    for (const entry of entries) await entriesOf(entry, files);
    await send(files);
  });
  for (const id of ["files", "folder"]) {
    document.getElementById(id).addEventListener("change", (event) => {
      send([...event.target.files].map((file) => [file.webkitRelativePath || file.name, file]));
    });
  }
}
