// Requests of an upload: they say how much was sent, are tried again, and can be canceled.
import { csrf } from "../session.js";

const TRIES = 8;

export class Refused extends Error {}
export class Canceled extends Error {}

export async function ask(method, address, { body, type, signal, onSent } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const { status, content } = await send(method, address, { body, type, signal, onSent });
    if (status >= 200 && status < 300) return content;
    // Nothing is wrong with the upload: it goes on in a new session.
    if (status === 401 || status === 403) throw new Error("your session has ended; sign in again and choose the same files");
    if (status >= 400 && status < 500 && status !== 429) throw Object.assign(new Refused(words(status, content)), { retried: attempt > 0 });
    if (attempt >= TRIES) throw new Error("the server does not answer");
    await pause(500 * 2 ** Math.min(attempt, 5), signal);
  }
}

const words = (status, content) => content?.detail ?? `the server answered with status ${status}`;

// By XMLHttpRequest: fetch does not tell how much of a body was sent.
function send(method, address, { body, type, signal, onSent }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const cancel = () => { request.abort(); reject(new Canceled()); };
    if (signal?.aborted) { reject(new Canceled()); return; }
    signal?.addEventListener("abort", cancel);
    request.open(method, address);
    request.setRequestHeader("X-CSRF-Token", csrf());
    if (type) request.setRequestHeader("Content-Type", type);
    if (onSent) request.upload.addEventListener("progress", (event) => onSent(event.loaded));
    request.addEventListener("loadend", () => {
      signal?.removeEventListener("abort", cancel);
      resolve({ status: request.status, content: contentOf(request.responseText) });
    });
    request.send(body ?? null);
  });
}

function contentOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(new Canceled()); });
  });
}
