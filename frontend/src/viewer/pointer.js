// Mouse, pen, touch and trackpad over the panes.
const CLICK = 4; // pixels that a pointer may move in a click
const SWIPE = 14; // pixels that a finger moves for a slice
// Pixels of the wheel for a slice. A notch of a mouse has more and is one slice; a trackpad's many small events add up.
const ROLL = 50;
const LINE = 20; // pixels of a line, where a browser counts lines
const REST_MS = 250; // after which a started slice is forgotten
const PINCH = 14; // pixels of one event that zoom at most: a notch with Ctrl is 15 %

export function followPointer(pane, viewer) {
  const { svg } = pane.overlay;
  const fingers = new Map();
  let held = null;

  const at = (event) => {
    const box = svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  function pinch() {
    const [[x1, y1], [x2, y2]] = [...fingers.values()];
    return { middle: [(x1 + x2) / 2, (y1 + y2) / 2], apart: Math.hypot(x1 - x2, y1 - y2) };
  }

  svg.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    pane.canvas.focus({ preventScroll: true });
    viewer.activate(pane);
    svg.setPointerCapture(event.pointerId);
    const [x, y] = at(event);
    if (event.pointerType === "touch") fingers.set(event.pointerId, [x, y]);
    held = { start: [x, y], last: [x, y], tile: pane.tileAt(x, y), moved: false, mode: modeOf(event, viewer), pinch: fingers.size === 2 ? pinch() : null };
    if (held.mode === "draw" && held.tile >= 0) viewer.beginMark(pane, pane.mmAt(x, y, held.tile));
  });

  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [x, y] = at(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, [x, y]);
    if (Math.hypot(x - held.start[0], y - held.start[1]) > CLICK) held.moved = true;
    if (!held.moved || held.tile < 0) return;
    if (fingers.size === 2) {
      const now = pinch();
      viewer.zoom(pane, now.apart / held.pinch.apart, pane.mmAt(...now.middle, held.tile));
      viewer.pan(pane, held.tile, held.pinch.middle, now.middle);
      held.pinch = now;
      return;
    }
    drag(pane, viewer, held, [x, y]);
  });

  const release = (event) => {
    fingers.delete(event.pointerId);
    if (!held) return;
    const { mode, moved, tile, start } = held;
    if (!fingers.size) held = null;
    if (event.type === "pointercancel") return;
    if (mode === "draw") viewer.endMark();
    else if (mode === "window" && moved) viewer.keepWindow(pane);
    else if (!moved && tile >= 0 && event.button === 0) viewer.go(pane.mmAt(...start, tile));
  };
  svg.addEventListener("pointerup", release);
  svg.addEventListener("pointercancel", release);
  svg.addEventListener("contextmenu", (event) => event.preventDefault());
  followWheel(pane, viewer, at);
}

function followWheel(pane, viewer, at) {
  let [rolled, last] = [0, 0];
  pane.overlay.svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [x, y] = at(event);
    const tile = pane.tileAt(x, y);
    if (tile < 0) return;
    const down = event.deltaMode ? event.deltaY * LINE : event.deltaY;
    if (event.ctrlKey) {
      // A trackpad's pinch comes as a wheel with Ctrl, too.
      viewer.zoom(pane, 1.01 ** -limited(down, PINCH), pane.mmAt(x, y, tile));
      return;
    }
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) return;
    if (event.timeStamp - last > REST_MS || Math.sign(down) !== Math.sign(rolled)) rolled = 0;
    last = event.timeStamp;
    rolled += limited(down, ROLL);
    const slices = Math.trunc(rolled / ROLL);
    rolled -= slices * ROLL;
    if (slices) viewer.step(-slices, pane, pane.axisOf(pane.nv.screenSlices[tile]));
  }, { passive: false });
}

const limited = (distance, most) => Math.min(Math.max(distance, -most), most);

// As in most hospital viewers: left sets the window, middle moves, right zooms; a finger scrolls.
function modeOf(event, viewer) {
  if (viewer.tool && event.button === 0) return "draw";
  if (event.pointerType === "touch") return "scroll";
  if (event.button === 1 || (event.button === 0 && event.shiftKey)) return "pan";
  return event.button === 2 || event.ctrlKey ? "zoom" : "window";
}

function drag(pane, viewer, held, [x, y]) {
  const [dx, dy] = [x - held.last[0], y - held.last[1]];
  if (held.mode === "scroll") {
    const slices = Math.trunc((held.last[1] - y) / SWIPE);
    if (!slices) return;
    viewer.step(slices, pane, pane.axisOf(pane.nv.screenSlices[held.tile]));
    held.last = [x, held.last[1] - slices * SWIPE];
    return;
  }
  if (held.mode === "draw") viewer.moveMark(pane, pane.mmAt(x, y, held.tile));
  else if (held.mode === "pan") viewer.pan(pane, held.tile, held.last, [x, y]);
  else if (held.mode === "zoom") viewer.zoom(pane, 1.01 ** -dy, pane.mmAt(...held.start, held.tile));
  else viewer.windowBy(pane, dx, dy);
  held.last = [x, y];
}
