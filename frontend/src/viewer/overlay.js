// The overlay of a series' slices: crosshair, contour, marks, and text in the corners.
import { contourPath } from "./contour.js";
import { PLANES } from "./pane.js";

const SVG = "http://www.w3.org/2000/svg";
const GAP = 12;

function svgElement(name, attributes, into) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  into.append(element);
  return element;
}

export class Overlay {
  constructor(pane) {
    this.pane = pane;
    this.svg = pane.element.querySelector("svg");
    this.corners = {};
    for (const corner of pane.element.querySelectorAll("[data-corner]")) this.corners[corner.dataset.corner] = corner;
    this.paths = new Map();
    this.crosshair = true;
    this.pending = null;
  }

  draw() {
    this.svg.replaceChildren();
    const { pane } = this;
    for (const tile of pane.nv.screenSlices) {
      if (tile.axCorSag > 2) continue;
      const clip = this.tileGroup(tile);
      const axis = pane.axisOf(tile);
      if (pane.settings.get("contour") && pane.settings.get("heat") && pane.nv.volumes[1]) this.drawContour(tile, axis, clip);
      for (const mark of [...pane.series.marks, ...(this.pending ? [this.pending] : [])]) this.drawMark(mark, tile, axis, clip);
      if (this.crosshair) this.drawCrosshair(tile, clip);
      if (pane.three) this.drawCaption(tile, axis, clip);
      if (axis === pane.series.axis && !pane.slices.arrived.has(pane.voxel[axis])) this.drawMissing(tile, clip);
    }
    this.write();
  }

  tileGroup({ leftTopWidthHeight }) {
    const [x, y, width, height] = leftTopWidthHeight.map((at) => at / this.pane.ratio);
    const group = svgElement("svg", { x, y, width, height, viewBox: `${x} ${y} ${width} ${height}` }, this.svg);
    return group;
  }

  // Matrix from voxels of a slice, along its two axes, to the canvas.
  matrix(tile, axis) {
    const { grid, voxel } = this.pane;
    const [a, b] = [0, 1, 2].filter((n) => n !== axis);
    const at = (p, q) => {
      const place = [0, 0, 0];
      [place[axis], place[a], place[b]] = [voxel[axis], p, q];
      return this.pane.toScreen(grid.toMM(place), tile);
    };
    const [origin, along, down] = [at(0, 0), at(1, 0), at(0, 1)];
    return [along[0] - origin[0], along[1] - origin[1], down[0] - origin[0], down[1] - origin[1], ...origin];
  }

  drawContour(tile, axis, into) {
    const { pane } = this;
    const index = pane.voxel[axis];
    const level = pane.settings.get("level");
    const key = `${axis} ${index} ${level}`;
    if (!this.paths.has(key)) {
      if (this.paths.size > 50) this.paths.clear();
      this.paths.set(key, contourPath(pane.nv.volumes[1].img, pane.series.shape, axis, index, level));
    }
    const transform = `matrix(${this.matrix(tile, axis).join(" ")})`;
    for (const kind of ["rim", "line"]) svgElement("path", { d: this.paths.get(key), transform, class: `contour ${kind}` }, into);
  }

  drawMark(mark, tile, axis, into) {
    const now = this.pane.voxel[axis];
    const ends = mark.kind === "box" ? [mark.from[axis] - 0.5, mark.to[axis] + 0.5] : [mark.from[axis], mark.to[axis]].sort((m, n) => m - n);
    if (now < Math.round(ends[0]) || now > ends[1] + 0.5) return;
    const [a, b] = [0, 1, 2].filter((n) => n !== axis);
    const half = mark.kind === "box" ? 0.5 : 0;
    const [m11, m12, m21, m22, x, y] = this.matrix(tile, axis);
    const at = (p, q) => [m11 * p + m21 * q + x, m12 * p + m22 * q + y];
    const [from, to] = [at(mark.from[a] - half, mark.from[b] - half), at(mark.to[a] + half, mark.to[b] + half)];
    const group = svgElement("g", { class: `mark ${mark.kind}${mark === this.pending ? " pending" : ""}`, "data-mark": mark.id ?? "" }, into);
    const corners = mark.kind === "box"
      ? [from, at(mark.to[a] + half, mark.from[b] - half), to, at(mark.from[a] - half, mark.to[b] + half), from] : [from, to];
    const points = corners.map((point) => point.map((part) => part.toFixed(1)).join(",")).join(" ");
    for (const kind of ["rim", "line"]) svgElement("polyline", { points, class: kind }, group);
    const right = from[0] > to[0] ? from : to;
    svgElement("text", { x: right[0] + 6, y: right[1] + 4 }, group).textContent = mark.words ?? "";
  }

  drawCrosshair(tile, into) {
    const { pane } = this;
    const voxel = pane.grid.toVoxel(pane.place).map((at, n) => pane.grid.clamp(at, n));
    const [x, y] = pane.toScreen(pane.grid.toMM(voxel), tile);
    const [left, top, width, height] = tile.leftTopWidthHeight.map((at) => at / pane.ratio);
    const d = `M${left} ${y}H${x - GAP}M${x + GAP} ${y}H${left + width}M${x} ${top}V${y - GAP}M${x} ${y + GAP}V${top + height}`;
    svgElement("path", { d, class: "crosshair" }, into);
  }

  // Each of three planes has a number of its own.
  drawCaption(tile, axis, into) {
    const [left, top, width, height] = tile.leftTopWidthHeight.map((at) => at / this.pane.ratio);
    svgElement("text", { x: left + width - 6, y: top + height - 24, class: "caption" }, into).textContent = this.slice(tile, axis);
  }

  drawMissing({ leftTopWidthHeight }, into) {
    const [left, top, width, height] = leftTopWidthHeight.map((at) => at / this.pane.ratio);
    const words = this.pane.broken ? "This slice did not arrive" : "This slice has not arrived yet";
    svgElement("text", { x: left + width / 2, y: top + height / 2, class: "missing" }, into).textContent = words;
  }

  // What a tile shows, from what is drawn in it. A plane across the series' slices is put together from all of them.
  slice(tile, axis) {
    const { series, voxel, three } = this.pane;
    const place = `${voxel[axis] + 1} of ${series.shape[axis]}`;
    const plane = series.geometry ? PLANES[tile.axCorSag] : "";
    if (axis === series.axis) return three && plane ? `${plane}, slice ${place}` : `Slice ${place}`;
    const { arrived, count } = this.pane.slices;
    const parts = arrived.size < count ? `${arrived.size} of ${count}` : count;
    return `${plane} ${place}${three ? "" : `, put together from ${parts} slices`}`.trim();
  }

  write() {
    const { pane, corners } = this;
    const { series } = pane;
    const volume = pane.nv.volumes[0];
    const beyond = pane.grid.holds(pane.place) ? "" : ", the place lies outside this series";
    const [tile] = pane.nv.screenSlices;
    const plane = pane.three || !tile ? "" : this.slice(tile, pane.axisOf(tile));
    const { arrived, count, complete } = pane.slices;
    const shown = [
      `${plane}${beyond}`.replace(/^, /, ""), pane.flipped ? "Flipped: left and right exchanged" : "",
      complete ? "" : `${arrived.size} of ${count} slices ${pane.broken ? "arrived" : "are here, the others come"}`,
    ];
    corners.slice.textContent = shown.filter(Boolean).join(". ");
    corners.window.textContent = `Window ${number(volume.cal_max - volume.cal_min)}, level ${number((volume.cal_max + volume.cal_min) / 2)}`;
    const { dataset } = pane.element;
    dataset.arrived = arrived.size;
    dataset.slice = pane.voxel[series.axis] + 1;
    dataset.place = pane.place.map((at) => at.toFixed(1)).join(",");
    dataset.zoom = pane.nv.scene.pan2Dxyzmm[3].toFixed(3);
    this.onWrite?.();
  }
}

export const number = (value) => (Math.abs(value) >= 10 ? value.toFixed(0) : value.toPrecision(2));
