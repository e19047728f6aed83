// Boxes and lengths that a reader draws, and jumps to stored ones.
import { Measurements } from "./measurements.js";

export class Marks {
  constructor(viewer) {
    this.viewer = viewer;
    this.next = 0;
    this.region = document.getElementById("region");
    for (const button of document.querySelectorAll("button[data-jump]")) {
      button.addEventListener("click", () => this.jump(button.dataset.jump));
    }
    document.getElementById("drop-mark")?.addEventListener("click", () => this.drop());
    document.getElementById("keep-mark")?.addEventListener("click", () => this.keepBox());
    this.measurements = new Measurements(viewer, (pane, mark) => this.show(mark, pane));
  }

  get all() {
    return this.viewer.main.series.marks;
  }

  // A draft's mark belongs to its unfinished note.
  keepIn(draft) {
    this.draft = draft;
    if (draft.mark) this.hold({ kind: "box", ...draft.mark });
  }

  jump(id) {
    const mark = this.all.find((stored) => stored.id === id);
    if (mark) this.show(mark);
  }

  toNext() {
    const marks = [...this.all, ...(this.pending ? [this.pending] : [])];
    if (marks.length) this.show(marks[this.next++ % marks.length]);
  }

  show(mark, pane = this.viewer.main) {
    const middle = mark.from.map((at, n) => (at + mark.to[n]) / 2);
    this.viewer.box.scrollIntoView({ block: "nearest" });
    this.viewer.go(pane.grid.toMM(middle), pane);
  }

  begin(pane, mm) {
    const { main, tool } = this.viewer;
    // Opinions are on the first series; lengths may be measured in all series of this study.
    if (!mm || pane.series.study !== main.series.study || (tool === "mark" && pane !== main)) return;
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
    if (mark.kind === "box") this.hold(mark);
    else this.keepRuler(pane, mark);
  }

  keepRuler(pane, mark) {
    this.lay(pane, null);
    if (pane.grid.distance(mark.from, mark.to) === 0) return;
    this.measurements.store(pane, mark);
  }

  keepBox() {
    if (!this.pending) return;
    const mark = this.pending;
    this.drop();
    this.measurements.store(this.viewer.main, mark);
  }

  lay(pane, mark) {
    pane.overlay.pending = mark;
    pane.overlay.draw();
  }

  stop() {
    this.drawing = null;
    this.byKeys = false;
  }

  // The mark waits until an opinion is stored with it.
  hold(mark) {
    this.pending = mark;
    this.region.value = [...mark.from, ...mark.to].join(",");
    this.lay(this.viewer.main, mark);
    this.waiting(true);
    this.draft?.keep({ from: mark.from, to: mark.to });
    if (this.viewer.place) this.viewer.showStatus("Marked; the box is stored with your opinion");
  }

  drop() {
    this.stop();
    this.pending = null;
    if (this.region) this.region.value = "";
    this.lay(this.viewer.main, null);
    this.waiting(false);
    this.draft?.keep(null);
  }

  waiting(on) {
    for (const id of ["send-region", "keep-mark", "drop-mark"]) {
      const button = document.getElementById(id);
      if (button) button.disabled = !on;
    }
    const words = document.getElementById("mark-waits");
    if (words) words.hidden = !on;
  }

  // By keyboard: set one corner, move the crosshair, set the other corner.
  cornerHere() {
    const { main, place } = this.viewer;
    if (this.byKeys) {
      this.move(main, place);
      this.end();
    } else {
      this.begin(main, place);
      this.byKeys = true;
    }
  }

  follow(mm) {
    if (this.byKeys) this.move(this.viewer.main, mm);
  }
}
