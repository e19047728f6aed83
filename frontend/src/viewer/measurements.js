// Measurements of a study: stored at once, and listed with their authors; only the author can delete one.
const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";

export class Measurements {
  constructor(viewer, show) {
    Object.assign(this, { viewer, show, list: document.querySelector("#measured ul") });
    this.address = `/api/v1/studies/${viewer.data.study}/measurements`;
    this.showList();
  }

  // All measurements in this study, each with its pane; without the boxes of opinions.
  get all() {
    return this.viewer.panes.filter((pane) => pane.series.study === this.viewer.data.study)
      .flatMap((pane) => pane.series.marks.filter((mark) => mark.user).map((mark) => ({ pane, mark })));
  }

  async store(pane, { kind, from, to }) {
    const body = JSON.stringify({ scan: pane.series.number, kind, from, to });
    const response = await this.ask("POST", this.address, body);
    if (!response) return;
    const mark = await response.json();
    pane.series.marks.push(mark);
    pane.overlay.draw();
    this.viewer.showStatus(`Measured and stored: ${mark.words}`);
    this.showList();
  }

  async remove(pane, mark) {
    if (!(await this.ask("DELETE", `${this.address}/${mark.id}`))) return;
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
      const words = `${mark.words}, ${pane.series.name}, ${mark.user}`;
      item.append(words, " ", button("Show", `Show ${words}`, () => this.show(pane, mark)));
      if (mark.own) item.append(button("Delete", `Delete ${words}`, () => this.remove(pane, mark)));
      return item;
    }));
  }
}
