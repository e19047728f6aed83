// The study before and after, in the order of the worklist that one came from.
export const toStudy = (rel) => document.querySelector(`.steps a[rel=${rel}]`)?.click();

// On a page without images; with them the viewer has these among its keys.
export function followSteps() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, select, input")) return;
    if (event.key === ",") toStudy("prev");
    if (event.key === ".") toStudy("next");
  });
}
