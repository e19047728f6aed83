// The line along which a heat map crosses a level in one slice, as an SVG path in voxels of the slice.
export function contourPath(heat, shape, axis, index, level) {
  const steps = [1, shape[0], shape[0] * shape[1]];
  const [a, b] = [0, 1, 2].filter((n) => n !== axis);
  const start = index * steps[axis];
  // Zero outside the image: the contour of a region at its edge is closed.
  const at = (p, q) => (p < 0 || q < 0 || p >= shape[a] || q >= shape[b] ? 0 : heat[start + p * steps[a] + q * steps[b]]);
  const parts = [];
  for (let q = -1; q < shape[b]; q += 1) {
    let [left, leftBelow] = [at(-1, q), at(-1, q + 1)];
    for (let p = -1; p < shape[a]; p += 1) {
      const [right, rightBelow] = [at(p + 1, q), at(p + 1, q + 1)];
      const kind = (left >= level) | ((right >= level) << 1) | ((rightBelow >= level) << 2) | ((leftBelow >= level) << 3);
      if (kind && kind !== 15) parts.push(...segments(p, q, kind, [left, right, rightBelow, leftBelow], level));
      [left, leftBelow] = [right, rightBelow];
    }
  }
  return parts.join("");
}

// Marching squares: by which of a square's corners are above the level, the sides that the line joins.
const SIDES = {
  1: [[3, 0]], 2: [[0, 1]], 3: [[3, 1]], 4: [[1, 2]], 5: [[3, 0], [1, 2]], 6: [[0, 2]], 7: [[3, 2]],
  8: [[2, 3]], 9: [[2, 0]], 10: [[0, 1], [2, 3]], 11: [[2, 1]], 12: [[1, 3]], 13: [[1, 0]], 14: [[0, 3]],
};

function segments(p, q, kind, corners, level) {
  const share = (m, n) => (level - corners[m]) / (corners[n] - corners[m]);
  const point = (side) => [
    () => [p + share(0, 1), q], () => [p + 1, q + share(1, 2)], () => [p + share(3, 2), q + 1], () => [p, q + share(0, 3)],
  ][side]().map((at) => at.toFixed(2)).join(" ");
  return SIDES[kind].map(([from, to]) => `M${point(from)}L${point(to)}`);
}
