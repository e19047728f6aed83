// The toolbar: what its buttons, lists and sliders do, and what of it is kept.
import { numberOf } from "../numbers.js";
import { number } from "./overlay.js";

const HINTS = {
  ruler: "Ruler: drag from one end to the other",
  mark: "Mark: drag from corner to corner",
};

export class Tools {
  constructor(viewer) {
    this.viewer = viewer;
    this.settings = viewer.settings;
    this.all = {};
    for (const tool of document.querySelectorAll("[data-do]")) this.all[tool.dataset.do] = tool;
    this.showSettings();
    this.follow();
  }

  press(name) {
    this.all[name]?.click();
  }

  set(name, on) {
    this.all[name]?.setAttribute("aria-pressed", String(on));
  }

  // Switch a button; return whether it is on now.
  toggle(name) {
    const on = this.all[name].getAttribute("aria-pressed") !== "true";
    this.set(name, on);
    return on;
  }

  showSettings() {
    const { settings, all } = this;
    for (const name of ["heat", "contour", "crosshair", "planes", "invert"]) this.set(name, settings.get(name));
    if (!all.opacity) return;
    all.opacity.value = settings.get("opacity");
    all.threshold.value = settings.get("level");
    this.showLevel();
  }

  showLevel() {
    document.getElementById("from").textContent = `${this.settings.get("level")} %`;
  }

  follow() {
    const { viewer, all } = this;
    const kept = (name, apply) => () => {
      this.settings.set({ [name]: this.toggle(name) });
      for (const pane of viewer.panes) apply(pane, this.settings.get(name));
    };
    const heat = (pane) => { pane.drawHeat(); pane.overlay.draw(); };
    const actions = {
      peak: () => viewer.toPeak(),
      reset: () => viewer.reset(),
      keys: () => document.getElementById("keys").showModal(),
      planes: () => viewer.setPlanes(this.toggle("planes")),
      crosshair: kept("crosshair", (pane, on) => { pane.overlay.crosshair = on; pane.overlay.draw(); }),
      heat: kept("heat", heat),
      contour: kept("contour", heat),
      invert: kept("invert", (pane, on) => pane.invert(on)),
      flip: () => { const on = this.toggle("flip"); for (const pane of viewer.panes) pane.flip(on); },
      cine: () => viewer.cine.run(this.toggle("cine")),
      ruler: () => this.choose("ruler"),
      mark: () => this.choose("mark"),
    };
    for (const [name, action] of Object.entries(actions)) all[name]?.addEventListener("click", action);
    all.window.addEventListener("change", () => this.setPreset(all.window.value));
    for (const name of ["width", "level"]) all[name].addEventListener("change", () => this.setNumbers());
    all.opacity?.addEventListener("input", () => this.setHeat({ opacity: Number(all.opacity.value) }));
    all.threshold?.addEventListener("input", () => this.setHeat({ level: Number(all.threshold.value) }));
  }

  setHeat(change) {
    this.settings.set(change);
    for (const pane of this.viewer.panes) { pane.drawHeat(); pane.overlay.draw(); }
    this.showLevel();
  }

  // A preset holds for all series that are shown; figures and dragging for one.
  setPreset(name) {
    for (const pane of this.viewer.panes) {
      pane.showWindow(name);
      this.settings.setWindow(pane.series.sequence, name);
    }
  }

  setNumbers() {
    const [width, level] = [this.all.width, this.all.level].map((field) => numberOf(field.value));
    const { active } = this.viewer;
    if (!(width > 0) || !Number.isFinite(level)) {
      active.say("Width and level have to be numbers; the width has to be above 0.");
      this.showWindow();
      return;
    }
    active.window(level - width / 2, level + width / 2);
    this.keepWindow(active);
  }

  keepWindow(pane) {
    this.settings.setWindow(pane.series.sequence, pane.windowShares);
    this.showWindow();
  }

  // The active series' window, in the fields that are not being typed in.
  showWindow() {
    const { active } = this.viewer;
    const { cal_min: low, cal_max: high } = active.nv.volumes[0];
    const shown = { width: number(high - low), level: number((high + low) / 2) };
    for (const [name, words] of Object.entries(shown)) if (document.activeElement !== this.all[name]) this.all[name].value = words;
    const window = this.settings.windowOf(active.series.sequence);
    this.all.window.value = typeof window === "string" ? window : "own";
  }

  nextWindow() {
    const names = [...this.all.window.options].map((option) => option.value).filter((name) => name !== "own");
    this.setPreset(names[(names.indexOf(this.all.window.value) + 1) % names.length]);
  }

  // The tool that a drag draws with: the ruler, the box, or none.
  choose(name) {
    const on = this.toggle(name);
    for (const other of ["ruler", "mark"]) if (other !== name) this.set(other, false);
    this.viewer.tool = on ? name : null;
    this.viewer.marks.stop();
    this.viewer.showStatus(on ? HINTS[name] : undefined);
  }

  drop() {
    if (this.viewer.tool) this.choose(this.viewer.tool);
  }
}
