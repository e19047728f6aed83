// Links to the previous and the next study, in the order of the worklist that the page was opened from.
export const toStudy = (rel) => document.querySelector(`.steps a[rel=${rel}]`)?.click();

export function followSteps() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, select, input, dialog")) return;
    if (event.key === ",") toStudy("prev");
    if (event.key === ".") toStudy("next");
  });
}
