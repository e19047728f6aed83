// What is measured stays with the study: stored at once, listed with who made it, deleted by them.
const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";

export class Measurements {
  constructor(viewer, show) {
    Object.assign(this, { viewer, show, list: document.querySelector("#measured ul") });
    this.address = `/api/v1/studies/${viewer.told.study}/measurements`;
    this.tell();
  }

  // The panes of this study with all that was measured in them; boxes of opinions are not.
  get all() {
    return this.viewer.panes.filter((pane) => pane.series.study === this.viewer.told.study)
      .flatMap((pane) => pane.series.marks.filter((mark) => mark.user).map((mark) => ({ pane, mark })));
  }

  async store(pane, { kind, from, to }) {
    const body = JSON.stringify({ scan: pane.series.number, kind, from, to });
    const answer = await this.ask("POST", this.address, body);
    if (!answer) return;
    const mark = await answer.json();
    pane.series.marks.push(mark);
    pane.overlay.draw();
    this.viewer.tell(`Measured and stored: ${mark.words}`);
    this.tell();
  }

  async remove(pane, mark) {
    if (!(await this.ask("DELETE", `${this.address}/${mark.id}`))) return;
    pane.series.marks = pane.series.marks.filter((one) => one !== mark);
    pane.overlay.draw();
    this.tell();
  }

  async ask(method, address, body) {
    try {
      const headers = { "X-CSRF-Token": csrf(), ...(body ? { "Content-Type": "application/json" } : {}) };
      const answer = await fetch(address, { method, body, headers });
      if (answer.ok) return answer;
      const { detail } = await answer.json();
      this.viewer.tell(`Not stored: ${detail}`);
    } catch {
      this.viewer.tell("Not stored: the server does not answer; measure again once it does");
    }
    return null;
  }

  tell() {
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
