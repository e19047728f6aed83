// Deliveries to a PACS: asked for without leaving the page, followed until they are answered, tried again.
import { csrf } from "../session.js";

const POLL_MS = 2000;

export function followSending() {
  const section = document.getElementById("send");
  if (section) new Sending(section).start();
}

class Sending {
  constructor(section) {
    Object.assign(this, { section, list: section.querySelector("ul"), status: section.querySelector("[role=status]") });
    this.address = `/api/v1/studies/${section.dataset.study}/deliveries`;
  }

  start() {
    this.show(JSON.parse(this.section.dataset.sendable));
    this.section.querySelector("form")?.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(this.address, JSON.stringify({ peer: event.target.elements.peer.value }));
    });
  }

  async ask(address, body) {
    this.status.textContent = "Asking the server";
    const headers = { "X-CSRF-Token": csrf(), "Content-Type": "application/json" };
    const response = await fetch(address, { method: "POST", headers, body }).catch(() => null);
    const refused = response && !response.ok ? (await response.json().catch(() => ({}))).detail : "";
    this.status.textContent = response ? refused ?? `Not sent: status ${response.status}` : "Not sent: the server does not answer";
    await this.refresh();
  }

  async refresh() {
    const response = await fetch(this.address, { headers: { "X-Meninx-Poll": "1" } }).catch(() => null);
    if (response?.ok) this.show(await response.json());
  }

  show({ deliveries }) {
    this.list.replaceChildren(...deliveries.map((delivery) => this.entry(delivery)));
    clearTimeout(this.timer);
    if (deliveries.some(({ state }) => state === "waiting" || state === "sending")) this.timer = setTimeout(() => this.refresh(), POLL_MS);
  }

  entry({ id, state, words, user, made, objects }) {
    const item = element("li", "");
    item.append(`${words}. `, element("span", `${state}; asked for by ${user}, ${new Date(made).toLocaleString()}`));
    item.lastChild.className = "soft";
    if (state === "failed") {
      const retry = element("button", "Try again");
      retry.type = "button";
      retry.addEventListener("click", () => this.ask(`${this.address}/${id}/retry`));
      item.append(" ", retry);
    }
    const details = element("details", "");
    details.append(element("summary", "Each object"), ...objects.map(({ kind, answer, state: got }) => element("p", `${kind}: ${answer || got}`)));
    item.append(details);
    return item;
  }
}

const element = (name, textContent) => Object.assign(document.createElement(name), { textContent });
