// A series' voxel grid in patient coordinates, mm (NIfTI's axes: right, front, head).
export class Grid {
  constructor(affine, shape) {
    this.rows = affine.slice(0, 3);
    this.shape = shape;
    this.columns = [0, 1, 2].map((n) => this.rows.map((row) => row[n]));
    this.spacing = this.columns.map((column) => Math.hypot(...column));
  }

  toMM(voxel) {
    return this.rows.map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  }

  toVoxel(mm) {
    const away = this.rows.map((row, n) => mm[n] - row[3]);
    // The columns are at right angles, so that a projection inverts the matrix.
    return this.columns.map((column, n) => column.reduce((sum, part, m) => sum + part * away[m], 0) / this.spacing[n] ** 2);
  }

  // Voxel that a place lies in; for a place outside, the nearest one.
  nearest(mm) {
    return this.toVoxel(mm).map((at, n) => this.clamp(Math.round(at), n));
  }

  clamp(at, axis) {
    return Math.min(Math.max(at, 0), this.shape[axis] - 1);
  }

  holds(mm) {
    return this.toVoxel(mm).every((at, n) => at >= -0.5 && at <= this.shape[n] - 0.5);
  }

  distance(from, to) {
    return Math.hypot(...from.map((at, n) => (at - to[n]) * this.spacing[n]));
  }
}
