// A note and a box that are not stored yet stay in this browser tab, also when the session ends.
export class Draft {
  constructor(study, scan, form) {
    this.key = `draft:${study}:${scan}`;
    this.note = form.elements.note;
    const address = new URL(location.href);
    if (address.searchParams.has("stored")) {
      this.clear();
      address.searchParams.delete("stored");
      history.replaceState(null, "", address);
    }
    const { note = "", mark = null } = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
    this.note.value ||= note;
    this.mark = mark;
    this.note.addEventListener("input", () => this.keep());
  }

  keep(mark = this.mark) {
    this.mark = mark;
    sessionStorage.setItem(this.key, JSON.stringify({ note: this.note.value, mark }));
  }

  clear() {
    sessionStorage.removeItem(this.key);
  }
}
