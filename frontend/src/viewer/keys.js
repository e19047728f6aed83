// The keys of the viewer, and the dialog that lists them.
export function followKeys(viewer, dialog) {
  const list = keysOf(viewer);
  const by = new Map(list.flatMap(({ keys, run }) => keys.map((key) => [key, run])));
  const tables = dialog.querySelectorAll("dl");
  for (const [n, { shown, words }] of list.filter((key) => key.shown).entries()) {
    const term = document.createElement("dt");
    term.append(...shown.split(" ").map((key) => Object.assign(document.createElement("kbd"), { textContent: key })));
    tables[n < 16 ? 0 : 1].append(term, Object.assign(document.createElement("dd"), { textContent: words }));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.target.closest("textarea, select, input:not([type=range])")) return;
    // Keys that move a focused slider have no other effect.
    if (event.target.closest("input") && event.key.length > 1) return;
    const key = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
    const run = by.get(key);
    // Enter and Space press a button that has the focus, unless a corner is being set.
    const pressed = event.target.closest("button, a, summary");
    if (!run || (key === "Enter" && (!viewer.tool || pressed)) || (key === " " && pressed)) return;
    event.preventDefault();
    event.stopPropagation();
    run();
  }, true);
}

export function keysOf(viewer) {
  const key = (keys, shown, words, run) => ({ keys, shown, words, run });
  return [
    key(["ArrowUp", "ArrowRight"], "↑ →", "next slice", () => viewer.step(1)),
    key(["ArrowDown", "ArrowLeft"], "↓ ←", "previous slice", () => viewer.step(-1)),
    key(["PageUp"], "PageUp", "ten slices on", () => viewer.step(10)),
    key(["PageDown"], "PageDown", "ten slices back", () => viewer.step(-10)),
    key(["Home"], "Home", "first slice", () => viewer.step(-Infinity)),
    key(["End"], "End", "last slice", () => viewer.step(Infinity)),
    key(["Shift+ArrowUp"], "Shift+↑", "crosshair up; with ↓ ← → likewise", () => viewer.nudge(0, -1)),
    ...[["Shift+ArrowDown", 0, 1], ["Shift+ArrowLeft", -1, 0], ["Shift+ArrowRight", 1, 0]].map(([name, x, y]) => (
      { keys: [name], shown: "", words: "", run: () => viewer.nudge(x, y) })),
    key(["p"], "p", "to the peak of the heat map", () => viewer.toPeak()),
    key(["n"], "n", "to the next mark", () => viewer.toNextMark()),
    key(["+", "="], "+", "larger", () => viewer.zoom(viewer.main, 1.25)),
    key(["-"], "-", "smaller", () => viewer.zoom(viewer.main, 0.8)),
    key(["i"], "i k j l", "move the image up, down, left, right", () => viewer.panBy(0, -40)),
    ...[["k", 0, 40], ["j", -40, 0], ["l", 40, 0]].map(([name, x, y]) => (
      { keys: [name], shown: "", words: "", run: () => viewer.panBy(x, y) })),
    key(["0"], "0", "reset zoom, position and window", () => viewer.reset()),
    key(["m"], "m", "three planes, or one", () => viewer.press("planes")),
    key(["x"], "x", "hide or show the crosshair", () => viewer.press("crosshair")),
    key(["h"], "h", "hide or show the heat map", () => viewer.press("heat")),
    key(["c"], "c", "contour instead of colors", () => viewer.press("contour")),
    key(["w"], "w", "next window", () => viewer.nextWindow()),
    key(["v"], "v", "invert black and white", () => viewer.press("invert")),
    key(["f"], "f", "exchange left and right", () => viewer.press("flip")),
    key([" "], "Space", "run through the slices, or stop", () => viewer.press("cine")),
    key(["1"], "1 2 4 a", "one series, two, four, all sequences", () => viewer.press("layout-1")),
    ...["2", "4", "a"].map((name) => ({ keys: [name], shown: "", words: "", run: () => viewer.press(`layout-${name}`) })),
    key(["r"], "r", "ruler", () => viewer.press("ruler")),
    key(["b"], "b", "mark a box", () => viewer.press("mark")),
    key(["Enter"], "Enter", "with ruler or box: a corner at the crosshair", () => viewer.cornerHere()),
    key(["Escape"], "Esc", "drop the mark, leave the tool", () => viewer.dropTool()),
    key([], ".", "next study of the worklist"),
    key([], ",", "previous study of the worklist"),
    key(["?"], "?", "these keys", () => viewer.showKeys()),
  ];
}
