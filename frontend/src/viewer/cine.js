// Slices one after the other, as a film that begins again at its end.
const SLICE_MS = 120;

export class Cine {
  constructor(viewer) {
    this.viewer = viewer;
    document.addEventListener("visibilitychange", () => { if (document.hidden && this.timer) viewer.press("cine"); });
  }

  run(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.next(), SLICE_MS) : 0;
  }

  next() {
    const { active } = this.viewer;
    const { axis, shape } = active.series;
    const last = active.voxel[axis] === shape[axis] - 1;
    this.viewer.step(last ? -Infinity : 1, active);
  }
}
