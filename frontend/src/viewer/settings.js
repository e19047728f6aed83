// What a reader has set, kept through the change of series and study: by account, in this browser.
const LASTING = { heat: true, contour: false, opacity: 50, level: 20, crosshair: true, planes: false };
// Windows belong to a sequence, in shares of a series' own range: gray values of MR have no unit.
const OF_THIS_TAB = { windows: {}, invert: false };

export class Settings {
  // What is set for this page alone is not kept.
  constructor(reader, ofThisPage) {
    const kept = [[localStorage, LASTING], [sessionStorage, OF_THIS_TAB]].map(([store, defaults]) => (
      { store, key: `viewer:${reader}`, values: { ...defaults, ...stored(store, `viewer:${reader}`) } }));
    this.parts = [{ store: null, values: ofThisPage }, ...kept];
  }

  get(name) {
    return this.parts.find(({ values }) => name in values).values[name];
  }

  set(changes) {
    for (const [name, value] of Object.entries(changes)) {
      const { store, key, values } = this.parts.find((part) => name in part.values);
      values[name] = value;
      store?.setItem(key, JSON.stringify(values));
    }
  }

  // Window of a sequence: a preset's name, or the ends as shares of the automatic range.
  windowOf(sequence) {
    return this.get("windows")[sequence] ?? "auto";
  }

  setWindow(sequence, window) {
    this.set({ windows: { ...this.get("windows"), [sequence]: window } });
  }
}

function stored(store, key) {
  try {
    return JSON.parse(store.getItem(key) ?? "{}");
  } catch {
    return {};
  }
}
