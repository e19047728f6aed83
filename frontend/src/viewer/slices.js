// The voxels of a series, slice by slice as they come: the format is that of studies/slice_files.py.
import { NVImage } from "@niivue/niivue";

const HEADER = 352; // bytes of NIfTI-1 before the voxels
const NEAR = 21; // slices after which other series and the heat map are asked for
const HURRIED = 9; // slices that come first where a reader looks at one that is not there yet

// Yields the header, then each slice as its index and its bytes.
async function* partsOf(address, sliceBytes) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`status ${response.status}`);
  const reader = response.body.pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  let rest = new Uint8Array(0);
  // The next bytes; null at the end.
  const take = async (count) => {
    const bytes = new Uint8Array(count);
    for (let filled = 0; filled < count; ) {
      if (!rest.length) {
        const { value, done } = await reader.read();
        if (done) return null;
        rest = value;
      }
      const piece = rest.subarray(0, count - filled);
      bytes.set(piece, filled);
      rest = rest.subarray(piece.length);
      filled += piece.length;
    }
    return bytes;
  };
  const header = await take(HEADER);
  yield header;
  const size = sliceBytes(header);
  for (let part = await take(4 + size); part; part = await take(4 + size)) {
    yield { index: new DataView(part.buffer).getUint32(0, true), bytes: part.subarray(4) };
  }
}

export class Slices {
  constructor({ volume, shape, axis, gray }) {
    Object.assign(this, { address: volume, shape, axis, gray, arrived: new Set(), onArrival: () => {} });
    this.count = shape[axis];
    this.near = new Promise((resolve) => { this.haveNear = resolve; });
  }

  get complete() {
    return this.arrived.size === this.count;
  }

  // The image, once its first slice is there; `all` resolves once all are.
  async open() {
    if (!this.gray) return this.openWhole();
    const parts = partsOf(this.address, (header) => this.sliceBytes(header));
    const { value: header } = await parts.next();
    const buffer = new Uint8Array(HEADER + this.count * this.sliceBytes(header));
    buffer.set(header);
    this.image = await NVImage.new(buffer.buffer, "series.nii", "gray");
    const [globalMin, low, high, globalMax] = this.gray;
    Object.assign(this.image, { cal_min: low, cal_max: high, robust_min: low, robust_max: high, global_min: globalMin, global_max: globalMax });
    const { value: first } = await parts.next();
    this.fill(first);
    this.all = this.fillFrom(parts);
    return this.image;
  }

  // Earlier versions stored NIfTI.
  async openWhole() {
    this.image = await NVImage.loadFromUrl({ url: this.address, colormap: "gray" });
    for (let index = 0; index < this.count; index += 1) this.arrived.add(index);
    this.haveNear();
    return this.image;
  }

  sliceBytes(header) {
    const bits = new DataView(header.buffer).getInt16(72, true);
    return (this.shape.reduce((product, side) => product * side) / this.count) * (bits / 8);
  }

  async fillFrom(parts) {
    try {
      for await (const part of parts) this.fill(part);
      if (!this.complete) throw new Error("the end is missing");
    } finally {
      this.haveNear();
    }
  }

  fill({ index, bytes }) {
    if (this.arrived.has(index)) return;
    const { img } = this.image;
    const voxels = new Uint8Array(img.buffer, img.byteOffset, img.byteLength);
    const size = img.BYTES_PER_ELEMENT;
    const steps = [1, this.shape[0], this.shape[0] * this.shape[1]];
    const [a, b] = [0, 1, 2].filter((axis) => axis !== this.axis);
    let n = 0;
    for (let plane = 0; plane < size; plane += 1) {
      for (let q = 0; q < this.shape[b]; q += 1) {
        let at = (index * steps[this.axis] + q * steps[b]) * size + plane;
        for (let p = 0; p < this.shape[a]; p += 1) {
          voxels[at] = bytes[n];
          at += steps[a] * size;
          n += 1;
        }
      }
    }
    this.arrived.add(index);
    if (this.arrived.size >= Math.min(NEAR, this.count)) this.haveNear();
    this.onArrival(index);
  }

  // A slice that a reader looks at comes before the others, with its neighbors. Returns whether they came.
  async hurry(index) {
    if (this.hurrying || this.arrived.has(index)) return false;
    this.hurrying = true;
    try {
      const parts = partsOf(`${this.address}?near=${index}&most=${HURRIED}`, (header) => this.sliceBytes(header));
      await parts.next();
      for await (const part of parts) this.fill(part);
      return true;
    } catch {
      // It comes with the others, which say if they do not come.
      return false;
    } finally {
      this.hurrying = false;
    }
  }
}
