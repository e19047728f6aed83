// One upload: its files, what of them has arrived, and the way from there to its studies.
import { Canceled, ask } from "./requests.js";

const CHUNK = 4 * 1024 * 1024;
// Smaller files are sent in batches: a request for each would take longer than its bytes.
const BATCH_BYTES = 32 * 1024 * 1024;
const BATCH_FILES = 400;
const ADDRESS = "/api/v1/uploads";
// Time over which the speed is averaged, ms.
const RECENT_MS = 5000;

// The reader's uploads that were begun and not finished.
export const unfinished = () => ask("GET", ADDRESS);
export const discard = (id) => ask("DELETE", `${ADDRESS}/${id}`);

// A folder's name, or that of the first file.
export const titleOf = (files) => files[0][0].split("/")[0];

export class Upload {
  // `known` is an unfinished upload that goes on with these files.
  constructor(files, options, known = null) {
    Object.assign(this, { files, options, known, id: known?.id ?? null, onChange: () => {} });
    this.title = titleOf(files);
    this.total = files.reduce((sum, [, file]) => sum + file.size, 0);
    this.done = 0;
    this.inRequest = 0;
    this.history = [];
  }

  get sent() {
    return Math.min(this.done + this.inRequest, this.total);
  }

  // Bytes a second, of the last seconds.
  get speed() {
    const [first] = this.history;
    const last = this.history.at(-1);
    return first && last.at > first.at ? (1000 * (last.sent - first.sent)) / (last.at - first.at) : 0;
  }

  count(inRequest) {
    this.inRequest = inRequest;
    const at = performance.now();
    this.history.push({ at, sent: this.sent });
    while (this.history.length > 2 && at - this.history[0].at > RECENT_MS) this.history.shift();
    this.onChange();
  }

  finished(bytes) {
    this.done += bytes;
    this.count(0);
  }

  cancel() {
    this.controller?.abort();
  }

  // Send what is missing, then make studies of it; again after it was broken off.
  async run() {
    this.controller = new AbortController();
    const { title, options } = this;
    if (!this.id) {
      const { project, spacing } = options;
      const begun = await this.ask("POST", ADDRESS, { body: JSON.stringify({ title, project, spacing }), type: "application/json" });
      this.id = begun.id;
    }
    const arrived = await this.arrived();
    this.done = 0;
    const missing = this.files.filter(([name, file]) => arrived.get(name) !== file.size || !file.size);
    this.finished(this.total - missing.reduce((sum, [, file]) => sum + file.size, 0));
    const isWhole = ([name, file]) => file.size <= CHUNK && !arrived.get(name);
    await this.sendWhole(missing.filter(isWhole));
    for (const entry of missing.filter((file) => !isWhole(file))) await this.sendInParts(entry, arrived.get(entry[0]) ?? 0);
    return this.ask("POST", `${ADDRESS}/${this.id}/finish?together=${options.together}`);
  }

  // Bytes of each file that the server has.
  async arrived() {
    const known = this.known ?? (await this.ask("GET", ADDRESS)).find(({ id }) => id === this.id);
    this.known = null;
    return new Map((known?.files ?? []).map(({ name, bytes }) => [name, bytes]));
  }

  async sendWhole(files) {
    for (const batch of batchesOf(files)) {
      const form = new FormData();
      for (const [name, file] of batch) form.append("files", file, name);
      await this.ask("POST", `${ADDRESS}/${this.id}/files`, { body: form });
      this.finished(batch.reduce((sum, [, file]) => sum + file.size, 0));
    }
  }

  async sendInParts([name, file], start) {
    this.finished(start);
    for (let offset = start; offset < file.size; ) {
      const part = file.slice(offset, offset + CHUNK);
      const where = `${ADDRESS}/${this.id}/parts?name=${encodeURIComponent(name)}&offset=${offset}`;
      const received = await this.ask("PUT", where, { body: part, type: "application/octet-stream" });
      this.finished(received.offset - offset);
      offset = received.offset;
    }
  }

  async ask(method, address, more = {}) {
    const { signal } = this.controller;
    if (signal.aborted) throw new Canceled();
    return ask(method, address, { ...more, signal, onSent: more.body ? (bytes) => this.count(bytes) : undefined });
  }
}

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
