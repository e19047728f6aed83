// What is being sent: progress, speed, what was left out and why, and where it arrived.
import { Canceled, Refused } from "./requests.js";
import { Upload, discard, titleOf, unfinished } from "./upload.js";

const SHOWN = 20; // files that were left out, by name

export class Uploads {
  constructor(element, onArrival) {
    Object.assign(this, { element, onArrival, running: new Set(), broken: new Map() });
    window.addEventListener("beforeunload", (event) => { if (this.running.size) event.preventDefault(); });
    this.listed = this.showUnfinished();
  }

  // An upload that was begun before, in this browser or another, goes on once its files are chosen again.
  async showUnfinished() {
    for (const known of await unfinished().catch(() => [])) {
      if ([...this.running].some(({ id }) => id === known.id)) continue;
      const row = this.row();
      this.broken.set(known.id, { known, row });
      const sent = `${counted(known.files.length, "file")}, ${megabytes(known.bytes)} MB`;
      row.say(`Not finished: ${known.title}; ${sent} arrived. Choose the same files or folder again, and the rest is sent.`);
      row.offer("Discard", () => this.discard(known.id, row));
    }
  }

  async discard(id, row) {
    if (!window.confirm("Discard what has arrived of this upload?")) return;
    await discard(id).catch(() => {});
    this.broken.delete(id);
    row.remove();
  }

  // The unfinished upload that has some of these files, or that none had arrived of.
  knownOf(files) {
    const names = new Set(files.map(([name]) => name));
    const title = titleOf(files);
    const begun = ({ known }) => known.files.some(({ name }) => names.has(name)) || (!known.files.length && known.title === title);
    return [...this.broken.values()].find(begun);
  }

  async send(files, options) {
    if (!files.length) return;
    const row = this.row();
    row.say(sending(files));
    await this.listed;
    const begun = this.knownOf(files);
    if (begun) {
      this.broken.delete(begun.known.id);
      begun.row.remove();
    }
    this.run(new Upload(files, options, begun?.known), row);
  }

  async run(upload, row, again = true) {
    this.running.add(upload);
    upload.onChange = () => row.progress(upload);
    row.offer("Cancel", () => upload.cancel());
    row.say(sending(upload.files));
    try {
      row.arrived(await upload.run());
      await this.onArrival();
    } catch (error) {
      await this.failed(error, upload, row, again);
    } finally {
      this.running.delete(upload);
    }
  }

  async failed(error, upload, row, again) {
    // After a lost response the upload may be stored already: a second upload then finds its studies.
    if (error.retried && again) {
      upload.id = null;
      this.running.add(upload);
      await this.run(upload, row, false);
      return;
    }
    if (error instanceof Canceled || error instanceof Refused) {
      if (upload.id) await discard(upload.id).catch(() => {});
      row.end(error instanceof Canceled ? `Canceled: ${upload.title}; nothing of it is kept.` : `Not sent: ${error.message}`);
      return;
    }
    row.end(`Broken off: ${error.message}. What arrived is kept for a day.`);
    row.offer("Go on", () => this.run(upload, row));
    row.offer("Discard", () => this.discard(upload.id, row));
  }

  row() {
    const row = new Row();
    this.element.prepend(row.element);
    return row;
  }
}

class Row {
  constructor() {
    this.element = made("div", { className: "upload" });
    this.words = made("p", { className: "upload-words" });
    this.words.setAttribute("role", "status");
    this.bar = made("progress", { max: 100, value: 0, hidden: true });
    this.bar.setAttribute("aria-label", "Upload");
    this.pace = made("p", { className: "soft" });
    this.list = made("ul", {});
    this.buttons = made("div", { className: "buttons" });
    this.element.append(this.words, this.bar, this.pace, this.list, this.buttons);
  }

  say(words) {
    this.words.textContent = words;
  }

  offer(words, run) {
    if (words === "Cancel") this.buttons.replaceChildren();
    const button = made("button", { type: "button", textContent: words });
    button.addEventListener("click", run);
    this.buttons.append(button);
  }

  remove() {
    this.element.remove();
  }

  progress({ sent, total, speed }) {
    this.bar.hidden = false;
    this.bar.value = total ? (100 * sent) / total : 100;
    const left = speed > 0 && sent < total ? `, ${duration((total - sent) / speed)} left` : "";
    const rate = speed > 0 ? `, ${megabytes(speed)} MB a second${left}` : "";
    this.pace.textContent = `${megabytes(sent)} of ${megabytes(total)} MB${rate}`;
  }

  end(words) {
    this.say(words);
    this.bar.hidden = true;
    this.buttons.replaceChildren();
  }

  arrived({ studies, left_out: leftOut = [] }) {
    this.end(summaryOf(studies));
    this.pace.textContent = "";
    this.list.replaceChildren(...studies.map((study) => {
      const item = made("li", {});
      const state = study.created ? queued(study.queue) : ", was here already";
      item.append(made("a", { href: `/studies/${study.id}`, textContent: study.name ?? study.title }), state);
      return item;
    }));
    if (leftOut.length) this.element.append(leftOutList(leftOut));
    this.buttons.replaceChildren();
    this.offer("Close", () => this.remove());
  }
}

function leftOutList(files) {
  const details = made("details", {});
  details.append(made("summary", { textContent: `${counted(files.length, "file")} left out` }));
  const list = made("ul", {});
  list.append(...files.slice(0, SHOWN).map(({ name, why }) => made("li", { textContent: `${name}: ${why}` })));
  if (files.length > SHOWN) list.append(made("li", { textContent: `and ${files.length - SHOWN} more` }));
  details.append(list);
  return details;
}

function summaryOf(studies) {
  const created = studies.filter((study) => study.created).length;
  const stored = studies.length - created;
  const sent = created === 1 ? "Sent; it is being scored." : `Sent: ${created} studies, which are being scored.`;
  const here = stored === 1 ? "One study was here already." : `${stored} studies were here already.`;
  return [created ? sent : "", stored ? here : ""].filter(Boolean).join(" ");
}

const made = (name, values) => Object.assign(document.createElement(name), values);
const counted = (count, name) => `${count} ${name}${count === 1 ? "" : "s"}`;
const sending = (files) => `Sending ${counted(files.length, "file")}: ${titleOf(files)}`;
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const queued = (queue) => (queue ? `, place ${queue.place} of ${queue.waiting} in the queue` : "");
const duration = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);
