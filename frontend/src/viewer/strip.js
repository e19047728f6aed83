// The scores of all slices as a strip of bars; a click shows the slice.
export class Strip {
  constructor(element, { slices, scores }, hottest, go) {
    this.element = element;
    this.slices = slices;
    scores.forEach((score, n) => {
      const bar = document.createElement("span");
      bar.style.height = `${Math.max(4, 100 * score)}%`;
      bar.title = `Slice ${slices[n] + 1}: ${score.toFixed(3)}`;
      bar.classList.toggle("hottest", n === hottest);
      element.append(bar);
    });
    element.removeAttribute("aria-disabled");
    element.addEventListener("click", (event) => {
      const share = (event.clientX - element.getBoundingClientRect().left) / element.clientWidth;
      if (slices.length) go(slices[Math.min(slices.length - 1, Math.floor(share * slices.length))]);
    });
  }

  mark(index, words) {
    const place = this.slices.indexOf(index);
    [...this.element.children].forEach((bar, n) => bar.classList.toggle("here", n === place));
    if (place < 0) return;
    this.element.setAttribute("aria-valuenow", place + 1);
    this.element.setAttribute("aria-valuetext", words);
  }
}
