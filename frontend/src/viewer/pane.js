// One series on a canvas: its slices at a place in the patient, with their overlay.
import { Niivue, SLICE_TYPE } from "@niivue/niivue";

import { FULL, SCALE, colorTable } from "./colors.js";
import { Grid } from "./grid.js";
import { Overlay } from "./overlay.js";

const PLANES = { axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL };
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
    loadingText: "",
    logLevel: "error",
  });
  await nv.attachToCanvas(canvas);
  return nv;
}

export class Pane {
  static async open(element, series, plane) {
    const canvas = element.querySelector("canvas");
    const nv = await niivue(canvas, series.geometry);
    nv.addColormap(SCALE, colorTable());
    const layers = [{ url: series.volume, colormap: "gray" }];
    if (series.heat) layers.push({ url: series.heat, colormap: SCALE, opacity: 0.5, cal_min: 20, cal_max: FULL });
    await nv.loadVolumes(layers);
    if (series.heat) nv.volumes[1].colormapType = FROM_ZERO;
    nv.setInterpolation(false);
    return new Pane(element, series, nv, plane);
  }

  constructor(element, series, nv, plane) {
    Object.assign(this, { element, series, nv, sliceType: PLANES[plane] ?? SLICE_TYPE.AXIAL });
    // The plane that a series is shown in, if not its own: all panes show the first series' plane.
    this.reformatted = series.plane && plane && series.plane !== plane ? plane : null;
    this.canvas = element.querySelector("canvas");
    this.grid = new Grid(nv.volumes[0].hdr.affine, series.shape);
    // NiiVue's axes are right, front and head; a series' voxels may be stored in any order.
    this.voxelAxes = nv.volumes[0].permRAS.map((axis) => Math.abs(axis) - 1);
    const object = nv.volumeObject3D;
    this.center = [0, 1, 2].map((n) => (object.extentsMin[n] + object.extentsMax[n]) / 2);
    this.range = { min: nv.volumes[0].cal_min, max: nv.volumes[0].cal_max };
    this.camera = { zoom: 1, center: null };
    this.heat = { level: 20, opacity: 0.5, contour: false, shown: true };
    this.place = this.center;
    const draw = nv.drawScene.bind(nv);
    // The overlay is drawn again whenever NiiVue draws, also when the window's size changes.
    nv.drawScene = () => { draw(); this.overlay?.draw(); };
    this.setPlanes(false);
    this.overlay = new Overlay(this);
    if (series.heat) this.drawHeat();
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

  show(mm, camera) {
    this.place = mm;
    const voxel = this.grid.toVoxel(mm).map((at, n) => this.grid.clamp(at, n));
    this.nv.scene.crosshairPos = this.nv.mm2frac(this.grid.toMM(voxel));
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
    [volume.cal_min, volume.cal_max] = [min, Math.max(max, min + 1e-6)];
    if (this.waiting) return;
    // A mouse moves more often than a screen is redrawn.
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.nv.refreshLayers(volume, 0);
      this.nv.drawScene();
    });
  }

  preset(name) {
    const { min, max } = this.range;
    const volume = this.nv.volumes[0];
    const presets = {
      auto: [min, max], narrow: [min + 0.25 * (max - min), min + 0.75 * (max - min)],
      wide: [min, min + 1.6 * (max - min)], full: [volume.global_min, volume.global_max],
    };
    this.window(...presets[name]);
  }

  drawHeat() {
    const volume = this.nv.volumes[1];
    if (!volume) return;
    volume.cal_min = this.heat.level;
    volume.opacity = this.heat.shown && !this.heat.contour ? this.heat.opacity : 0;
    this.nv.updateGLVolume();
  }
}
