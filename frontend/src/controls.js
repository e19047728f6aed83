// Controls that do nothing without a script are disabled in the page: each script enables its own once it listens.
export function enable(script, root = document) {
  for (const control of root.querySelectorAll(`[data-needs="${script}"]`)) control.disabled = false;
}
