// The images of one series: slices, window, heat map, peak, ruler, mark; and the strip of slice scores.
import { DRAG_MODE, Niivue, SLICE_TYPE } from "@niivue/niivue";

const numbers = (text, by = ",") => (text ? text.split(by).map(Number) : []);
const PLANES = { axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL };

async function niivue(canvas, geometry) {
  const nv = new Niivue({
    // Radiologists look at a patient's feet: right is on the left. NiiVue's default is the other way.
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    isOrientationTextVisible: geometry,
    // One letter for one meaning; without this only two sides are named.
    showAllOrientationMarkers: true,
    isSliceMM: geometry,
    backColor: [0, 0, 0, 1],
    crosshairWidth: 1,
    crosshairGap: 12,
    crosshairColor: [1, 0.6, 0.1, 0.9],
    show3Dcrosshair: false,
    dragModePrimary: DRAG_MODE.windowing,
    dragMode: DRAG_MODE.pan,
    isResizeCanvas: true,
    loadingText: "",
    logLevel: "error",
  });
  await nv.attachToCanvas(canvas);
  return nv;
}

// Of a heat map only the rim of what reaches a level, slice by slice.
function rimOf(heat, shape, axis, level) {
  const steps = [1, shape[0], shape[0] * shape[1]];
  const across = [0, 1, 2].filter((n) => n !== axis);
  return heat.map((value, at) => {
    if (value < level) return 0;
    const inside = across.every((n) => {
      const place = Math.floor(at / steps[n]) % shape[n];
      return place > 0 && place < shape[n] - 1 && heat[at - steps[n]] >= level && heat[at + steps[n]] >= level;
    });
    return inside ? 0 : value;
  });
}

async function show(box) {
  const { study, volume, heat, plane, beside } = box.dataset;
  const address = (name) => `/studies/${study}/files/${name}`;
  const geometry = box.dataset.geometry === "1";
  const axis = Number(box.dataset.axis);
  const shape = numbers(box.dataset.shape);
  const slices = numbers(box.dataset.slices);
  const scores = numbers(box.dataset.scores);
  const peaks = box.dataset.peaks ? box.dataset.peaks.split(",").map((text) => numbers(text, " ")) : [];
  const hottest = scores.indexOf(Math.max(...scores));
  const where = document.getElementById("where");
  const strip = document.getElementById("strip");
  const nv = await niivue(document.getElementById("image"), geometry);
  const layers = [{ url: address(volume), colormap: "gray" }];
  // The last color of NiiVue's table wraps around to black: 100 % stays a little below it.
  if (heat) layers.push({ url: address(heat), colormap: "inferno", opacity: 0.5, cal_min: 20, cal_max: 112 });
  await nv.loadVolumes(layers);
  const single = PLANES[plane] ?? SLICE_TYPE.AXIAL;
  nv.setSliceType(single);
  nv.setInterpolation(false);

  // NIfTI's own affine, from voxel to mm: whatever NiiVue turns inside, mm stay mm.
  const rows = nv.volumes[0].hdr.affine;
  const toMM = (voxel) => rows.slice(0, 3).map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  const toVoxel = (mm) => {
    const columns = [0, 1, 2].map((n) => [rows[0][n], rows[1][n], rows[2][n]]);
    const away = [0, 1, 2].map((n) => mm[n] - rows[n][3]);
    // Columns of a rectangular grid are at right angles: a projection inverts them.
    return columns.map((column) => column.reduce((sum, part, n) => sum + part * away[n], 0) / column.reduce((sum, part) => sum + part * part, 0));
  };
  let voxel = shape.map((side) => Math.floor(side / 2));
  const go = (to) => {
    voxel = to.map((at, n) => Math.min(Math.max(Math.round(at), 0), shape[n] - 1));
    nv.scene.crosshairPos = nv.mm2frac(toMM(voxel));
    nv.drawScene();
    tell();
  };
  const tell = () => {
    const place = slices.indexOf(voxel[axis]);
    const score = place >= 0 ? `, probability ${scores[place].toFixed(3)}` : slices.length ? ", not scored" : "";
    where.textContent = `Slice ${voxel[axis]} of 0 to ${shape[axis] - 1}, voxel ${voxel.join(", ")}${score}`;
    box.dataset.voxel = voxel.join(",");
    [...strip.children].forEach((bar, n) => bar.classList.toggle("here", n === place));
    if (place >= 0) strip.setAttribute("aria-valuenow", place);
  };
  nv.onLocationChange = (told) => {
    const now = toVoxel([...told.mm]).map(Math.round);
    if (now.some((at, n) => at !== voxel[n])) { voxel = now; tell(); }
  };

  scores.forEach((score, n) => {
    const bar = document.createElement("span");
    bar.style.height = `${Math.max(4, 100 * score)}%`;
    bar.title = `${slices[n]}: ${score.toFixed(3)}`;
    bar.classList.toggle("hottest", n === hottest);
    strip.append(bar);
  });
  const toSlice = (n) => go(voxel.map((at, m) => (m === axis ? slices[n] : at)));
  strip.addEventListener("click", (event) => {
    const share = (event.clientX - strip.getBoundingClientRect().left) / strip.clientWidth;
    if (slices.length) toSlice(Math.min(slices.length - 1, Math.floor(share * slices.length)));
  });
  const step = (by) => go(voxel.map((at, n) => (n === axis ? at + by : at)));
  const toPeak = () => { if (peaks.length) go(peaks[hottest]); };

  const tools = {};
  for (const tool of box.querySelectorAll("[data-do]")) tools[tool.dataset.do] = tool;
  const press = (tool, on) => tool?.setAttribute("aria-pressed", String(on));
  const pressed = (tool) => tool?.getAttribute("aria-pressed") === "true";
  const drag = (mode, tool) => {
    const on = !pressed(tool);
    for (const other of [tools.ruler, tools.mark]) press(other, false);
    press(tool, on);
    nv.opts.dragModePrimary = on ? mode : DRAG_MODE.windowing;
  };
  const range = { min: nv.volumes[0].cal_min, max: nv.volumes[0].cal_max };
  const windows = {
    auto: () => [range.min, range.max],
    narrow: () => [range.min + 0.25 * (range.max - range.min), range.min + 0.75 * (range.max - range.min)],
    wide: () => [range.min, range.min + 1.6 * (range.max - range.min)],
    full: () => [nv.volumes[0].global_min, nv.volumes[0].global_max],
  };
  const whole = heat ? nv.volumes[1].img : null;
  const drawHeat = () => {
    const level = Number(tools.threshold.value);
    nv.volumes[1].cal_min = level;
    nv.volumes[1].img = pressed(tools.contour) ? rimOf(whole, shape, axis, level) : whole;
    nv.updateGLVolume();
  };
  const actions = {
    peak: toPeak,
    planes: () => {
      const on = !pressed(tools.planes);
      press(tools.planes, on);
      nv.setSliceType(on ? SLICE_TYPE.MULTIPLANAR : single);
    },
    ruler: () => drag(DRAG_MODE.measurement, tools.ruler),
    mark: () => drag(DRAG_MODE.roiSelection, tools.mark),
    contour: () => {
      if (!heat) return;
      const on = !pressed(tools.contour);
      press(tools.contour, on);
      drawHeat();
    },
  };
  for (const [name, action] of Object.entries(actions)) tools[name]?.addEventListener("click", action);
  tools.window.addEventListener("change", () => {
    [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = windows[tools.window.value]();
    nv.updateGLVolume();
  });
  if (heat) {
    tools.opacity.addEventListener("input", () => nv.setOpacity(1, tools.opacity.value / 100));
    tools.threshold.addEventListener("input", drawHeat);
  }
  nv.onDragRelease = (told) => {
    if (!pressed(tools.mark)) return;
    const corners = [told.mmStart, told.mmEnd].map((mm) => toVoxel([...mm]).map(Math.round));
    document.getElementById("region").value = corners.flat().join(",");
    document.getElementById("send-region").disabled = false;
    where.textContent = `Marked from ${corners[0].join(", ")} to ${corners[1].join(", ")}; store it with a note`;
  };

  const keys = {
    ArrowUp: () => step(1), ArrowDown: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
    PageUp: () => step(10), PageDown: () => step(-10),
    p: toPeak, m: actions.planes, r: actions.ruler, b: actions.mark, c: actions.contour,
  };
  document.addEventListener("keydown", (event) => {
    const busy = event.target.closest("input, textarea, select");
    if (busy || event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }, true);
  const canvas = document.getElementById("image");
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    step(event.deltaY > 0 ? -1 : 1);
  }, { capture: true, passive: false });

  if (beside) {
    const other = await niivue(document.getElementById("beside"), geometry);
    await other.loadVolumes([{ url: address(beside), colormap: "gray" }]);
    other.setSliceType(single);
    nv.broadcastTo([other], { "2d": true, crosshair: true });
  }
  if (peaks.length) toPeak();
  else go(voxel);
  box.dataset.ready = "1";
  if (import.meta.env.DEV) window.nv = nv;
}

const box = document.getElementById("viewer");
if (box) show(box).catch((error) => { document.getElementById("where").textContent = `No image: ${error.message}`; });
