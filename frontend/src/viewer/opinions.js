// What a reader says: stored without leaving the page, so that panes, slice and window stay as they are.
import { enable } from "../controls.js";
import { csrf } from "../session.js";
import { Draft } from "./draft.js";
import { showStates } from "./regions.js";

const KEPT = "Your note and your box are kept in this browser tab.";

// Opinions can be given before the images are there; a study that is not scored takes none.
export function followOpinions() {
  const section = document.getElementById("opinions");
  return section && new Opinions(section.dataset.study, document.getElementById("opinion"));
}

class Opinions {
  constructor(study, form) {
    Object.assign(this, { study, form, viewer: null });
    document.addEventListener("htmx:load", (event) => this.enable(event.detail.elt));
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-jump]");
      if (button) this.jump(button.dataset.jump);
    });
    // A withdrawn study takes no opinions.
    if (form) this.followForm();
  }

  follow(viewer) {
    this.viewer = viewer;
    if (this.form) viewer.marks.onHold = (held) => this.showBox(held);
  }

  // Buttons of a list that came anew.
  enable(list) {
    if (this.viewer) enable("viewer", list);
  }

  followForm() {
    const { form } = this;
    this.said = document.getElementById("opinion-said");
    this.waits = document.getElementById("mark-waits");
    this.number = Number(form.elements.scan.value);
    this.name = document.getElementById("about-series").textContent;
    this.draft = new Draft(this.study, this.number, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.store(event.submitter.value);
    });
  }

  // The draft's box, once all series are there.
  restoreBox() {
    const mark = this.draft?.mark;
    if (!mark || this.viewer.marks.pending) return;
    const pane = this.paneOf(mark.scan);
    if (pane) this.viewer.marks.hold({ kind: "box", from: mark.from, to: mark.to }, pane);
    else this.say("The box that you marked lies in a series that is not shown: set that series beside to store it.");
  }

  paneOf(scan) {
    return this.viewer.panes.find(({ series }) => series.study === this.study && series.number === scan);
  }

  say(words, link) {
    this.said.replaceChildren(words, ...(link ? [" ", link] : []));
  }

  // An opinion with a box is on the series that the box was drawn in.
  showBox(held) {
    const { elements } = this.form;
    const series = held?.pane.series;
    this.waits.hidden = !held;
    elements.box.value = held ? [...held.mark.from, ...held.mark.to].join(",") : "";
    elements.scan.value = series ? series.number : this.number;
    document.getElementById("about-series").textContent = series ? series.name : this.name;
    if (held) document.getElementById("mark-words").textContent = `The box that you marked in ${series.name} is stored with your opinion.`;
    this.draft.keep(held ? { from: held.mark.from, to: held.mark.to, scan: series.number } : null);
    if (!held || (this.correcting && this.correcting.scan !== series.number)) this.correct(null);
  }

  // The box that comes next corrects a place of the heat map.
  correct(place) {
    const { elements } = this.form;
    const choice = document.getElementById("about-region");
    this.correcting = place;
    choice.hidden = !place;
    elements.region.value = place ? place.region : "";
    if (place) {
      choice.querySelector("span").textContent = `region ${place.region} of ${place.name}`;
      elements.about.value = "region";
    } else if (elements.about.value === "region") {
      elements.about.value = "series";
    }
  }

  asked(verdict) {
    const { about, scan, region, box, note } = this.form.elements;
    const corners = box.value ? box.value.split(",").map(Number) : null;
    return {
      verdict, about: about.value, scan: Number(scan.value), note: note.value,
      region: about.value === "region" ? Number(region.value) : null,
      box: corners && { from: corners.slice(0, 3), to: corners.slice(3) },
    };
  }

  async store(verdict) {
    const opinion = await this.send(this.asked(verdict));
    if (!opinion) return;
    this.form.elements.note.value = "";
    this.viewer?.marks.drop();
    this.draft.clear();
    this.correct(null);
    this.say(`Stored: ${opinion.words}`);
  }

  // Store an opinion; return it, or null after saying why not.
  async send(body) {
    const headers = { "X-CSRF-Token": csrf(), "Content-Type": "application/json" };
    let response;
    try {
      response = await fetch(`/api/v1/studies/${this.study}/opinions`, { method: "POST", headers, body: JSON.stringify(body) });
    } catch {
      this.say(`Not stored: the server does not answer. ${KEPT}`);
      return null;
    }
    if (!response.ok) {
      this.refused(response.status, (await response.json().catch(() => ({}))).detail ?? `status ${response.status}`);
      return null;
    }
    const opinion = await response.json();
    this.draw(opinion);
    await Promise.all([this.refresh(), showStates(this.study)]);
    return opinion;
  }

  refused(status, detail) {
    const here = location.pathname + location.search;
    const link = Object.assign(document.createElement("a"), { href: here, textContent: "Load the page again" });
    if (status === 401) Object.assign(link, { href: `/sign-in?${new URLSearchParams({ next: here })}`, textContent: "Sign in again" });
    this.say(`Not stored: ${status === 401 ? "your session has ended" : detail}. ${KEPT}`, status === 401 || status === 403 ? link : null);
  }

  draw(opinion) {
    const pane = opinion.box && this.viewer && this.paneOf(opinion.scan);
    const id = `opinion-${opinion.id}`;
    if (!pane || pane.series.marks.some((mark) => mark.id === id)) return;
    pane.series.marks.push({ id, kind: "box", ...opinion.box, words: `${opinion.user}: ${opinion.words}` });
    pane.overlay.draw();
  }

  async refresh() {
    const list = document.getElementById("opinion-list");
    const response = await fetch(`/studies/${this.study}/opinions?scan=${this.number}`, { headers: { "HX-Request": "true" } });
    if (!response.ok || !list) return;
    const loaded = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("opinion-list");
    list.replaceWith(loaded);
    window.htmx.process(loaded);
    this.enable(loaded);
  }

  // Another reader's box may have come after this page: it is asked for first.
  async jump(id) {
    const { marks } = this.viewer;
    if (!marks.all.some(({ mark }) => mark.id === id)) {
      const response = await fetch(`/api/v1/studies/${this.study}/opinions`);
      if (response.ok) for (const opinion of await response.json()) this.draw(opinion);
    }
    marks.jump(id);
  }
}
