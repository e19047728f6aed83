// The images of a study: series side by side at one place of the patient, heat maps, marks, slice scores.
import { Draft } from "./viewer/draft.js";
import { followSteps, toStudy } from "./steps.js";
import { followKeys } from "./viewer/keys.js";
import { Marks } from "./viewer/marks.js";
import { Pane } from "./viewer/pane.js";
import { followPointer } from "./viewer/pointer.js";
import { Strip } from "./viewer/strip.js";

const [SMALLEST, LARGEST] = [0.5, 20];
const PLACE = "place";

class Viewer {
  constructor(box, data, panes) {
    Object.assign(this, { box, data, panes, main: panes[0], tool: null });
    const { scores, peaks } = this.main.series;
    this.hottest = scores.indexOf(Math.max(...scores));
    this.peak = peaks[this.hottest];
    this.where = document.getElementById("where");
    this.strip = new Strip(document.getElementById("strip"), this.main.series, this.hottest, (slice) => this.toSlice(slice));
    this.tools = {};
    for (const tool of box.querySelectorAll("[data-do]")) this.tools[tool.dataset.do] = tool;
    this.marks = new Marks(this);
    for (const pane of panes) followPointer(pane, this);
    this.followTools();
    followKeys(this, document.getElementById("keys"));
    this.fitted = true;
    new ResizeObserver(() => requestAnimationFrame(() => (this.fitted ? this.fit() : this.look()))).observe(this.main.canvas);
    for (const link of document.querySelectorAll("a[data-keep]")) {
      link.addEventListener("click", () => sessionStorage.setItem(PLACE, JSON.stringify(this.place)));
    }
  }

  // Two series can be shown at one place only if both have patient coordinates.
  locked(pane) {
    return pane === this.main || (pane.series.geometry && this.main.series.geometry);
  }

  start() {
    const stored = JSON.parse(sessionStorage.getItem(PLACE));
    sessionStorage.removeItem(PLACE);
    this.camera = { scale: this.main.fit(), center: this.main.center };
    if (stored && this.main.grid.holds(stored)) this.go(stored);
    else if (this.peak) this.toPeak();
    else this.go(this.main.grid.toMM(this.main.series.shape.map((side) => Math.floor(side / 2))));
    this.box.dataset.ready = "1";
  }

  go(mm, source = this.main) {
    if (!mm) return;
    if (!this.locked(source)) { source.show(mm); return; }
    this.place = mm;
    for (const pane of this.panes) if (this.locked(pane)) pane.show(mm, this.camera);
    this.marks.follow(mm);
    this.showStatus();
  }

  showStatus(message) {
    const { series, voxel } = this.main;
    const slice = voxel[series.axis];
    const place = series.slices.indexOf(slice);
    const score = place >= 0 ? `, probability ${series.scores[place].toFixed(3)}` : series.slices.length ? ", not scored" : "";
    const status = `Slice ${slice + 1} of ${series.shape[series.axis]}${score}`;
    this.where.textContent = message ?? status;
    this.box.dataset.voxel = voxel.join(",");
    this.strip.mark(slice, status);
  }

  step(by, pane = this.main, axis = pane.series.axis) {
    const voxel = pane.grid.toVoxel(pane.place);
    voxel[axis] = pane.grid.clamp(Math.round(voxel[axis]) + by, axis);
    this.go(pane.grid.toMM(voxel), pane);
  }

  toSlice(index) {
    const { grid, series, place } = this.main;
    const voxel = grid.toVoxel(place);
    voxel[series.axis] = index;
    this.go(grid.toMM(voxel));
  }

  toPeak() {
    if (this.peak) this.go(this.main.grid.toMM(this.peak));
  }

  // Move the crosshair by a voxel to a side of the screen.
  nudge(x, y) {
    const { main } = this;
    const axis = main.series.axis;
    const [a, b] = [0, 1, 2].filter((n) => n !== axis);
    const matrix = main.overlay.matrix(main.mainTile, axis);
    const [first, second] = x ? [matrix[0], matrix[2]] : [matrix[1], matrix[3]];
    const [moved, toward] = Math.abs(first) >= Math.abs(second) ? [a, first] : [b, second];
    const voxel = main.grid.nearest(main.place);
    voxel[moved] = main.grid.clamp(voxel[moved] + Math.sign(toward) * (x || y), moved);
    this.go(main.grid.toMM(voxel));
  }

  look() {
    for (const pane of this.panes) if (this.locked(pane)) pane.look(this.camera);
  }

  fit() {
    this.fitted = true;
    this.camera = { scale: this.main.fit(), center: this.main.center };
    this.look();
  }

  zoom(pane, factor, mm = this.place) {
    if (!mm || !this.locked(pane)) return;
    const fit = this.main.fit();
    const scale = Math.min(Math.max(this.camera.scale * factor, SMALLEST * fit), LARGEST * fit);
    const by = scale / this.camera.scale;
    this.fitted = false;
    // The place under the pointer does not move.
    this.camera = { scale, center: this.camera.center.map((at, n) => mm[n] + (at - mm[n]) / by) };
    this.look();
  }

  pan(pane, tile, from, to) {
    if (!this.locked(pane)) return;
    const [start, end] = [pane.mmAt(...from, tile), pane.mmAt(...to, tile)];
    this.fitted = false;
    this.camera = { ...this.camera, center: this.camera.center.map((at, n) => at + start[n] - end[n]) };
    this.look();
  }

  panBy(x, y) {
    this.pan(this.main, 0, [0, 0], [x, y]);
  }

  windowBy(pane, dx, dy) {
    const volume = pane.nv.volumes[0];
    // The whole range corresponds to about 400 pixels: right is wider, up is brighter.
    const unit = (pane.range.max - pane.range.min) / 400;
    const width = Math.max(volume.cal_max - volume.cal_min + 2 * dx * unit, unit);
    const level = (volume.cal_max + volume.cal_min) / 2 + dy * unit;
    pane.window(level - width / 2, level + width / 2);
  }

  nextWindow() {
    const list = this.tools.window;
    list.selectedIndex = (list.selectedIndex + 1) % list.options.length;
    list.dispatchEvent(new Event("change"));
  }

  reset() {
    this.tools.window.value = "auto";
    for (const pane of this.panes) pane.preset("auto");
    this.fit();
  }

  press(name) {
    this.tools[name]?.click();
  }

  // Switch a button; return whether it is on now.
  toggle(name) {
    const on = this.tools[name].getAttribute("aria-pressed") !== "true";
    this.tools[name].setAttribute("aria-pressed", String(on));
    return on;
  }

  followTools() {
    const actions = {
      peak: () => this.toPeak(),
      reset: () => this.reset(),
      keys: () => this.showKeys(),
      planes: () => this.setPlanes(this.toggle("planes")),
      crosshair: () => this.showCrosshair(this.toggle("crosshair")),
      heat: () => this.setHeat({ shown: this.toggle("heat") }),
      contour: () => this.setHeat({ contour: this.toggle("contour") }),
      ruler: () => this.setTool("ruler"),
      mark: () => this.setTool("mark"),
    };
    for (const [name, action] of Object.entries(actions)) this.tools[name]?.addEventListener("click", action);
    const { window: presets, opacity, threshold } = this.tools;
    presets.addEventListener("change", () => this.panes.forEach((pane) => pane.preset(presets.value)));
    opacity?.addEventListener("input", () => this.setHeat({ opacity: opacity.value / 100 }));
    threshold?.addEventListener("input", () => this.setHeat({ level: Number(threshold.value) }));
  }

  setPlanes(three) {
    for (const pane of this.panes) pane.setPlanes(three);
    this.fit();
  }

  showCrosshair(on) {
    for (const pane of this.panes) { pane.overlay.crosshair = on; pane.overlay.draw(); }
  }

  setHeat(change) {
    for (const pane of this.panes) { Object.assign(pane.heat, change); pane.drawHeat(); }
    if (change.level) document.getElementById("from").textContent = `${change.level} %`;
  }

  setTool(name) {
    const on = this.toggle(name);
    for (const tool of ["ruler", "mark"]) if (tool !== name) this.tools[tool].setAttribute("aria-pressed", "false");
    this.tool = on ? name : null;
    this.marks.stop();
  }

  dropTool() {
    if (this.tool) this.setTool(this.tool);
    this.marks.drop();
  }

  beginMark(pane, mm) { this.marks.begin(pane, mm); }
  moveMark(pane, mm) { this.marks.move(pane, mm); }
  endMark() { this.marks.end(); }
  cornerHere() { this.marks.cornerHere(); }
  toNextMark() { this.marks.toNext(); }

  toStudy(rel) { toStudy(rel); }

  showKeys() {
    document.getElementById("keys").showModal();
  }
}

async function show(box) {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const elements = box.querySelectorAll(".pane");
  const panes = [];
  for (const [n, series] of data.panes.entries()) panes.push(await Pane.open(elements[n], series, data.panes[0].plane));
  const viewer = new Viewer(box, data, panes);
  const form = document.getElementById("opinion");
  if (form) viewer.marks.keepIn(new Draft(data.study, data.panes[0].number, form));
  viewer.start();
}

const box = document.getElementById("viewer");
if (!box) followSteps();
if (box) show(box).catch((error) => { document.getElementById("where").textContent = `No image: ${error.message}`; });
