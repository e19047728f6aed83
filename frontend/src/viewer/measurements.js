// Measurements of the series that are shown: stored at once, and listed with their authors, who alone can delete them.
import { csrf } from "../session.js";

export class Measurements {
  constructor(viewer, show) {
    Object.assign(this, { viewer, show, list: document.querySelector("#measured ul") });
    this.showList();
  }

  // All measurements in the panes, also of another visit; without the boxes of opinions.
  get all() {
    return this.viewer.panes.flatMap((pane) => pane.series.marks.filter((mark) => mark.user).map((mark) => ({ pane, mark })));
  }

  address(pane) {
    return `/api/v1/studies/${pane.series.study}/measurements`;
  }

  async store(pane, { kind, from, to }) {
    const body = JSON.stringify({ scan: pane.series.number, kind, from, to });
    const response = await this.ask("POST", this.address(pane), body);
    if (!response) return;
    const mark = await response.json();
    pane.series.marks.push(mark);
    pane.overlay.draw();
    this.viewer.showStatus(`Measured and stored: ${mark.words}`);
    this.showList();
  }

  async remove(pane, mark) {
    if (!window.confirm(`Delete the measurement of ${mark.words}?`)) return;
    if (!(await this.ask("DELETE", `${this.address(pane)}/${mark.id}`))) return;
    pane.series.marks = pane.series.marks.filter((stored) => stored !== mark);
    pane.overlay.draw();
    this.showList();
  }

  async ask(method, address, body) {
    try {
      const headers = { "X-CSRF-Token": csrf(), ...(body ? { "Content-Type": "application/json" } : {}) };
      const response = await fetch(address, { method, body, headers });
      if (response.ok) return response;
      const { detail } = await response.json();
      this.viewer.showStatus(`Not stored: ${detail}`);
    } catch {
      this.viewer.showStatus("Not stored: the server does not answer; try again later");
    }
    return null;
  }

  showList() {
    const button = (words, label, run) => {
      const made = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: words });
      made.setAttribute("aria-label", label);
      made.addEventListener("click", run);
      return made;
    };
    this.list?.replaceChildren(...this.all.map(({ pane, mark }) => {
      const item = document.createElement("li");
      const visit = pane.series.study === this.viewer.data.study ? "" : `, ${pane.series.date || "another visit"}`;
      const words = `${mark.words}, ${pane.series.name}${visit}, ${mark.user}`;
      item.append(words, " ", button("Show", `Show ${words}`, () => this.show(pane, mark)));
      if (mark.own) item.append(button("Delete", `Delete ${words}`, () => this.remove(pane, mark)));
      return item;
    }));
  }
}
