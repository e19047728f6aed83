// The colors of the heat map, from 0 to 100 %: those of the pictures and reports (render/heatmap.py).
export const SCALE = "meninx";
const STOPS = [[80, 0, 60], [190, 30, 50], [245, 125, 20], [255, 245, 160]];
// NiiVue reads its table between two entries at the upper end: values of 100 % stay below it.
const TOP = 250;
export const FULL = (100 * 255) / TOP;

export function colorTable() {
  const stops = [STOPS[0], ...STOPS, STOPS.at(-1)];
  return {
    R: stops.map((stop) => stop[0]), G: stops.map((stop) => stop[1]), B: stops.map((stop) => stop[2]),
    // The first entry is transparent; from the next one on the layer's own opacity applies.
    A: stops.map((_, n) => (n ? 255 : 0)), I: [0, ...STOPS.map((_, n) => Math.max(1, Math.round((TOP * n) / (STOPS.length - 1)))), 255],
  };
}
