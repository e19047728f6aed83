// One series on a canvas: its slices at a place in the patient, with their overlay.
import { NVImage, Niivue, SLICE_TYPE } from "@niivue/niivue";

import { FULL, SCALE, colorTable } from "./colors.js";
import { Grid } from "./grid.js";
import { Overlay } from "./overlay.js";
import { Slices } from "./slices.js";

// The planes by NiiVue's number of what it draws: axial, coronal, sagittal.
export const PLANES = ["axial", "coronal", "sagittal"];
const SLICE_TYPES = [SLICE_TYPE.AXIAL, SLICE_TYPE.CORONAL, SLICE_TYPE.SAGITTAL];
// Milliseconds between drawings of planes across slices that still come: a drawing sends all voxels to the graphics card.
const REDRAW_MS = 1000;
// NiiVue's colormap type with colors from zero on and nothing below the lower limit, contrary to its name.
const FROM_ZERO = 2;

async function niivue(canvas, geometry) {
  const nv = new Niivue({
    // The radiological convention: the patient's right is on the left. NiiVue's default is the other way.
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    isOrientationTextVisible: geometry,
    // Letters on all four sides; NiiVue's default names two.
    showAllOrientationMarkers: true,
    isSliceMM: true,
    fontColor: [1, 1, 1, 1],
    backColor: [0, 0, 0, 1],
    crosshairWidth: 0,
    show3Dcrosshair: false,
    multiplanarShowRender: 0,
    // Otherwise letters of neighboring planes would look like one word.
    multiplanarPadPixels: 16,
    isResizeCanvas: true,
    // Its own mouse, keys and drops would change what is drawn behind this viewer's back.
    interactive: false,
    loadingText: "",
    logLevel: "error",
  });
  await nv.attachToCanvas(canvas);
  return nv;
}

export class Pane {
  // Resolves once the first slice is drawn; `arrived` once all slices and the heat map are there.
  static async open(element, series, plane, settings) {
    const canvas = element.querySelector("canvas");
    const nv = await niivue(canvas, series.geometry);
    nv.addColormap(SCALE, colorTable());
    const slices = new Slices(series);
    nv.addVolume(await slices.open());
    nv.setInterpolation(false);
    const pane = new Pane(element, series, nv, plane, settings, slices);
    element.querySelector("img")?.remove();
    pane.arrived = Promise.all([pane.followSlices(), slices.near.then(() => pane.loadHeat())]);
    return pane;
  }

  constructor(element, series, nv, plane, settings, slices) {
    Object.assign(this, { element, series, nv, settings, slices, flipped: false, drawn: new Set(slices.arrived) });
    this.sliceType = SLICE_TYPES[Math.max(0, PLANES.indexOf(plane))];
    this.canvas = element.querySelector("canvas");
    this.message = element.querySelector("[data-corner=message]");
    this.grid = new Grid(nv.volumes[0].hdr.affine, series.shape);
    // NiiVue's axes are right, front and head; a series' voxels may be stored in any order.
    this.voxelAxes = nv.volumes[0].permRAS.map((axis) => Math.abs(axis) - 1);
    const object = nv.volumeObject3D;
    this.center = [0, 1, 2].map((n) => (object.extentsMin[n] + object.extentsMax[n]) / 2);
    const { robust_min: min, robust_max: max } = nv.volumes[0];
    this.range = { min, max };
    this.camera = { zoom: 1, center: null };
    this.place = this.center;
    const draw = nv.drawScene.bind(nv);
    // The overlay is drawn again whenever NiiVue draws, also when the window's size changes.
    nv.drawScene = () => { draw(); this.overlay?.draw(); };
    nv.volumes[0].colormapInvert = settings.get("invert");
    this.setPlanes(settings.get("planes") && series.geometry);
    this.overlay = new Overlay(this);
    this.overlay.crosshair = settings.get("crosshair");
    this.showWindow(settings.windowOf(series.sequence));
  }

  async followSlices() {
    const { slices } = this;
    slices.onArrival = (index) => {
      this.overlay.write();
      if (!this.isAcross && index === this.voxel[this.series.axis]) this.drawArrived();
      else if (this.isAcross) this.timer ??= setTimeout(() => this.drawArrived(), REDRAW_MS);
    };
    try {
      await slices.all;
      this.drawArrived();
    } catch (error) {
      this.broken = true;
      this.say(`${slices.arrived.size} of ${slices.count} slices arrived, the others did not (${error.message}). Load the page again.`);
      this.overlay.draw();
    }
  }

  // Whether a plane is shown that is put together from many slices.
  get isAcross() {
    return this.nv.screenSlices.some((tile) => this.axisOf(tile) !== this.series.axis);
  }

  // Give what has arrived since to the graphics card.
  drawArrived() {
    clearTimeout(this.timer);
    this.timer = null;
    this.drawn = new Set(this.slices.arrived);
    this.nv.refreshLayers(this.nv.volumes[0], 0);
    this.nv.drawScene();
  }

  // A slice that a reader looks at is drawn, or asked for before the others.
  wantSlice() {
    const index = this.voxel[this.series.axis];
    if (this.drawn.has(index)) return;
    if (this.slices.arrived.has(index)) this.drawArrived();
    else if (!this.broken) this.slices.hurry(index).then((came) => came && this.wantSlice());
  }

  async loadHeat() {
    const { nv, series } = this;
    if (!series.heat) return;
    const heat = await NVImage.loadFromUrl({ url: series.heat, colormap: SCALE, cal_min: 20, cal_max: FULL });
    heat.colormapType = FROM_ZERO;
    this.setHeat(heat);
    // Draws all layers.
    this.drawn = new Set(this.slices.arrived);
    nv.addVolume(heat);
  }

  // Slice axis among the voxel axes, of a tile's NiiVue number: 0 axial, 1 coronal, 2 sagittal.
  axisOf(tile) {
    return this.voxelAxes[2 - tile.axCorSag];
  }

  get mainTile() {
    const tiles = this.nv.screenSlices;
    return tiles.find((tile) => this.axisOf(tile) === this.series.axis) ?? tiles[0];
  }

  get voxel() {
    return this.grid.nearest(this.place);
  }

  // Say in the image why nothing happens; the next action takes it away.
  say(words) {
    this.message.textContent = words;
  }

  show(mm, camera) {
    this.place = mm;
    const voxel = this.grid.toVoxel(mm).map((at, n) => this.grid.clamp(at, n));
    this.nv.scene.crosshairPos = this.nv.mm2frac(this.grid.toMM(voxel));
    this.wantSlice();
    this.look(camera ?? this.camera);
  }

  // Show a place of the patient in the middle, at a scale in pixels a mm; the whole slice without one.
  look(camera) {
    this.camera = camera;
    const center = camera.center ?? this.center;
    const zoom = camera.scale ? camera.scale / this.fit() : 1;
    this.nv.scene.pan2Dxyzmm = [...this.center.map((at, n) => at - center[n] * zoom), zoom];
    this.nv.drawScene();
  }

  // Pixels a mm at which the slice fills the canvas.
  fit() {
    const [tile] = this.nv.screenSlices;
    return tile ? tile.leftTopWidthHeight[2] / Math.abs(tile.fovMM[0]) / this.nv.scene.pan2Dxyzmm[3] : 1;
  }

  setPlanes(three) {
    this.three = three;
    this.nv.setSliceType(three ? SLICE_TYPE.MULTIPLANAR : this.sliceType);
  }

  // Left and right exchanged; NiiVue's letters follow. Never kept: a side would be mistaken.
  flip(on) {
    this.flipped = on;
    Object.assign(this.nv.opts, { isRadiologicalConvention: !on, sagittalNoseLeft: !on });
    this.nv.drawScene();
  }

  invert(on) {
    this.nv.volumes[0].colormapInvert = on;
    this.nv.updateGLVolume();
  }

  get ratio() {
    return this.canvas.width / this.canvas.clientWidth;
  }

  tileAt(x, y) {
    const [at, down] = [x * this.ratio, y * this.ratio];
    const inside = ({ leftTopWidthHeight: [left, top, width, height] }) => at >= left && at <= left + width && down >= top && down <= top + height;
    return this.nv.screenSlices.findIndex(inside);
  }

  // Patient coordinates of a point of the canvas, mm; in a given tile also if the point lies outside it.
  mmAt(x, y, tile = this.tileAt(x, y)) {
    if (tile < 0) return null;
    const { leftTopWidthHeight: [left, top, width, height], leftTopMM, fovMM, axCorSag, AxyzMxy: v } = this.nv.screenSlices[tile];
    const u = leftTopMM[0] + ((x * this.ratio - left) / width) * fovMM[0];
    const w = leftTopMM[1] + (1 - (y * this.ratio - top) / height) * fovMM[1];
    // An oblique slice is deeper at one end.
    const depth = v[2] + v[4] * (w - v[1]) - v[3] * (u - v[0]);
    return [[u, w, depth], [u, depth, w], [depth, u, w]][axCorSag];
  }

  // Canvas coordinates of a place of the patient.
  toScreen(mm, { leftTopWidthHeight: [left, top, width, height], leftTopMM, fovMM, axCorSag }) {
    const [u, w] = [[mm[0], mm[1]], [mm[0], mm[2]], [mm[1], mm[2]]][axCorSag];
    const x = left + ((u - leftTopMM[0]) / fovMM[0]) * width;
    const y = top + height - ((w - leftTopMM[1]) / fovMM[1]) * height;
    return [x / this.ratio, y / this.ratio];
  }

  window(min, max) {
    const volume = this.nv.volumes[0];
    const top = Math.max(max, min + 1e-6);
    if (volume.cal_min === min && volume.cal_max === top) return;
    [volume.cal_min, volume.cal_max] = [min, top];
    if (this.waiting) return;
    // A mouse moves more often than a screen is redrawn.
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.nv.refreshLayers(volume, 0);
      this.nv.drawScene();
    });
  }

  // The window as shares of the automatic one, which holds for another series of the same sequence too.
  get windowShares() {
    const { min, max } = this.range;
    const { cal_min: low, cal_max: high } = this.nv.volumes[0];
    return [low, high].map((end) => (end - min) / (max - min || 1));
  }

  showWindow(window) {
    const { min, max } = this.range;
    const volume = this.nv.volumes[0];
    const presets = { auto: [0, 1], narrow: [0.25, 0.75], wide: [0, 1.6] };
    if (window === "full") this.window(volume.global_min, volume.global_max);
    else this.window(...(presets[window] ?? window).map((share) => min + share * (max - min)));
  }

  drawHeat() {
    const volume = this.nv.volumes[1];
    if (!volume) return;
    this.setHeat(volume);
    this.nv.updateGLVolume();
  }

  setHeat(volume) {
    volume.cal_min = this.settings.get("level");
    volume.opacity = this.settings.get("heat") && !this.settings.get("contour") ? this.settings.get("opacity") / 100 : 0;
  }
}
