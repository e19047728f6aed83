// Files and folders that a reader chooses, or drops anywhere on the worklist.
import { sizesOf } from "../numbers.js";
import { refreshList } from "../worklist.js";
import { Uploads } from "./panel.js";

// A dropped folder is a tree of entries, which are read some at a time.
async function entriesOf(entry, into, path = "") {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    into.push([path + entry.name, file]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const children = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!children.length) return;
    for (const child of children) await entriesOf(child, into, `${path}${entry.name}/`);
  }
}

export function followChoosing(drop) {
  const uploads = new Uploads(document.getElementById("uploads"), refreshList);
  const send = (files) => uploads.send(files, {
    together: document.getElementById("together").checked,
    project: document.getElementById("project")?.value ?? "",
    spacing: sizesOf(document.getElementById("spacing").value),
  });
  const over = (on) => (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.toggle("over", on);
  };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", async (event) => {
    over(false)(event);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const files = [];
    for (const entry of entries) await entriesOf(entry, files);
    send(files);
  });
  document.getElementById("drop-words").textContent = "Drop a study here";
  for (const id of ["files", "folder"]) {
    const input = document.getElementById(id);
    const take = () => {
      send([...input.files].map((file) => [file.webkitRelativePath || file.name, file]));
      // The same files can be chosen again, to go on.
      input.value = "";
    };
    input.addEventListener("change", take);
    // What was chosen before this script listened.
    take();
  }
}
