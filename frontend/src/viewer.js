// The images of a study: series side by side at one place of the patient, heat maps, marks, slice scores.
import { enable } from "./controls.js";
import { followSteps } from "./steps.js";
import { Cine } from "./viewer/cine.js";
import { followKeys } from "./viewer/keys.js";
import { Marks } from "./viewer/marks.js";
import { followOpinions } from "./viewer/opinions.js";
import { Pane } from "./viewer/pane.js";
import { followPointer } from "./viewer/pointer.js";
import { followRegions } from "./viewer/regions.js";
import { followSending } from "./viewer/sending.js";
import { Settings } from "./viewer/settings.js";
import { Strip } from "./viewer/strip.js";
import { Tools } from "./viewer/tools.js";

const [SMALLEST, LARGEST] = [0.5, 20];
const PLACE = "place";

class Viewer {
  constructor(box, data, main, settings) {
    Object.assign(this, { box, data, panes: [main], main, active: main, settings, tool: null });
    const { scores, peaks } = main.series;
    this.hottest = scores.indexOf(Math.max(...scores));
    this.peak = peaks[this.hottest];
    this.where = document.getElementById("where");
    this.strip = new Strip(document.getElementById("strip"), main.series, this.hottest, (slice) => this.toSlice(slice));
    this.marks = new Marks(this);
    this.cine = new Cine(this);
    this.tools = new Tools(this);
    this.follow(main);
    followKeys(this, document.getElementById("keys"));
    this.fitted = true;
    new ResizeObserver(() => requestAnimationFrame(() => (this.fitted ? this.fit() : this.look()))).observe(main.canvas);
    for (const link of document.querySelectorAll("a[data-keep]")) {
      link.addEventListener("click", () => sessionStorage.setItem(PLACE, JSON.stringify(this.place)));
    }
  }

  follow(pane) {
    followPointer(pane, this);
    pane.canvas.addEventListener("focus", () => this.activate(pane));
    pane.overlay.onWrite = () => { if (pane === this.active) this.tools.showWindow(); };
    pane.element.classList.toggle("active", pane === this.active);
  }

  add(pane) {
    this.panes.push(pane);
    this.follow(pane);
    if (this.locked(pane)) pane.show(this.place, this.camera);
    this.marks.measurements.showList();
  }

  // The series that figures of the window, keys and the film apply to: the one that was last touched.
  activate(pane) {
    pane.say("");
    if (pane === this.active) return;
    this.active = pane;
    for (const shown of this.panes) shown.element.classList.toggle("active", shown === pane);
    this.tools.showWindow();
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

  step(by, pane = this.active, axis = pane.series.axis) {
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

  keepWindow(pane) { this.tools.keepWindow(pane); }
  nextWindow() { this.tools.nextWindow(); }

  reset() {
    this.tools.setPreset("auto");
    for (const name of ["invert", "flip"]) if (this.tools.all[name].getAttribute("aria-pressed") === "true") this.tools.press(name);
    this.fit();
  }

  press(name) { this.tools.press(name); }

  setPlanes(three) {
    this.settings.set({ planes: three });
    for (const pane of this.panes) pane.setPlanes(three);
    this.fit();
  }

  dropTool() {
    this.tools.drop();
    this.marks.drop();
  }

  beginMark(pane, mm) { this.marks.begin(pane, mm); }
  moveMark(pane, mm) { this.marks.move(pane, mm); }
  endMark() { this.marks.end(); }
  cornerHere() { this.marks.cornerHere(); }
  toNextMark() { this.marks.toNext(); }

  showKeys() { this.press("keys"); }
}

// The first series can be read while its other slices, and the other series, still arrive.
async function show(box, opinions) {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const elements = box.querySelectorAll(".pane");
  const settings = new Settings(data.reader, data.claimed ? {} : { heat: false });
  const [first, ...others] = data.panes;
  const viewer = new Viewer(box, data, await Pane.open(elements[0], first, first.plane, settings), settings);
  viewer.start();
  opinions.follow(viewer);
  followRegions(viewer, opinions);
  enable("viewer");
  for (const [n, series] of others.entries()) {
    await viewer.panes.at(-1).slices.near;
    viewer.showStatus(`Loading series ${n + 2} of ${data.panes.length}: ${series.name}`);
    viewer.add(await Pane.open(elements[n + 1], series, first.plane, settings));
  }
  opinions.restoreBox();
  await Promise.all(viewer.panes.map((pane) => pane.arrived));
  viewer.showStatus();
  box.dataset.ready = "1";
}

const box = document.getElementById("viewer");
followSteps();
followSending();
const opinions = followOpinions();
if (box) show(box, opinions).catch((error) => { document.getElementById("where").textContent = `No image: ${error.message}`; });
