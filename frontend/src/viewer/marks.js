// Boxes and lengths that a reader draws, and jumps to stored ones.
import { Measurements } from "./measurements.js";

export class Marks {
  constructor(viewer) {
    this.viewer = viewer;
    this.next = 0;
    this.onHold = () => {};
    document.getElementById("drop-mark")?.addEventListener("click", () => this.drop());
    document.getElementById("keep-mark")?.addEventListener("click", () => this.keepBox());
    this.measurements = new Measurements(viewer, (pane, mark) => this.show(mark, pane));
  }

  get all() {
    const stored = this.viewer.panes.flatMap((pane) => pane.series.marks.map((mark) => ({ pane, mark })));
    return this.pending ? [...stored, this.pending] : stored;
  }

  jump(id) {
    const found = this.all.find(({ mark }) => mark.id === id);
    if (found) this.show(found.mark, found.pane);
  }

  toNext() {
    const { all } = this;
    if (!all.length) return;
    const { pane, mark } = all[this.next++ % all.length];
    this.show(mark, pane);
  }

  show(mark, pane = this.viewer.main) {
    const middle = mark.from.map((at, n) => (at + mark.to[n]) / 2);
    this.viewer.box.scrollIntoView({ block: "nearest" });
    this.viewer.go(pane.grid.toMM(middle), pane);
  }

  begin(pane, mm) {
    if (!mm) return;
    const { tool, data } = this.viewer;
    if (tool === "mark" && !document.getElementById("opinion")) {
      pane.say("A withdrawn study takes no opinions, so that a box would be lost. The ruler works.");
      return;
    }
    if (tool === "mark" && pane.series.study !== data.study) {
      pane.say("A box belongs to an opinion on the study that is open: open this visit to mark it. The ruler works here.");
      return;
    }
    const start = this.voxelOf(pane, mm);
    this.drawing = { pane, start, mark: null };
    this.move(pane, mm);
  }

  // Boxes are whole voxels; ends of a length may lie between voxel centers, inside the image.
  voxelOf(pane, mm) {
    const voxel = pane.grid.toVoxel(mm).map((at, n) => pane.grid.clamp(at, n));
    return this.viewer.tool === "mark" ? voxel.map(Math.round) : voxel.map((at) => Math.round(at * 10) / 10);
  }

  move(pane, mm) {
    if (!this.drawing || pane !== this.drawing.pane || !mm) return;
    const { start } = this.drawing;
    const end = this.voxelOf(pane, mm);
    if (this.viewer.tool === "mark") {
      this.drawing.mark = { kind: "box", from: start.map((at, n) => Math.min(at, end[n])), to: start.map((at, n) => Math.max(at, end[n])) };
    } else {
      const length = pane.grid.distance(start, end);
      this.drawing.mark = { kind: "ruler", from: start, to: end, words: `${length.toFixed(1)} ${pane.series.geometry ? "mm" : "pixels"}` };
    }
    this.lay(pane, this.drawing.mark);
  }

  end() {
    if (!this.drawing) return;
    const { pane, mark } = this.drawing;
    this.stop();
    if (mark.kind === "box") this.hold(mark, pane);
    else this.keepRuler(pane, mark);
  }

  keepRuler(pane, mark) {
    this.lay(pane, this.pending?.pane === pane ? this.pending.mark : null);
    if (pane.grid.distance(mark.from, mark.to) === 0) {
      this.viewer.showStatus("Nothing measured: drag from one end to the other");
      return;
    }
    this.measurements.store(pane, mark);
  }

  keepBox() {
    if (!this.pending) return;
    const { pane, mark } = this.pending;
    this.drop();
    this.measurements.store(pane, mark);
  }

  lay(pane, mark) {
    pane.overlay.pending = mark;
    pane.overlay.draw();
  }

  stop() {
    this.drawing = null;
    this.byKeys = false;
  }

  // The mark waits until an opinion is stored with it: on the series that it was drawn in.
  hold(mark, pane) {
    if (this.pending) this.lay(this.pending.pane, null);
    this.pending = { pane, mark };
    this.lay(pane, mark);
    this.onHold(this.pending);
    if (this.viewer.place) this.viewer.showStatus("Marked; the box is stored with your opinion");
  }

  drop() {
    this.stop();
    for (const pane of this.viewer.panes) this.lay(pane, null);
    this.pending = null;
    this.onHold(null);
  }

  // By keyboard: set one corner, move the crosshair, set the other corner.
  cornerHere() {
    const { active, place } = this.viewer;
    if (this.byKeys) {
      this.move(this.drawing.pane, place);
      this.end();
    } else {
      this.begin(active, active.place);
      this.byKeys = Boolean(this.drawing);
    }
  }

  follow(mm) {
    if (this.byKeys) this.move(this.drawing.pane, mm);
  }
}
