// The places of the heat map: each one a click away in all sequences, accepted, rejected or corrected.
const WORDS = { open: "", accepted: "accepted", rejected: "rejected", corrected: "corrected", doubtful: "in doubt" };

export function followRegions(viewer, opinions) {
  const list = document.getElementById("regions");
  if (!list) return;
  for (const item of list.querySelectorAll("li")) {
    const place = placeOf(item);
    item.querySelector(".place").addEventListener("click", () => jump(viewer, place));
    for (const button of item.querySelectorAll("button[data-verdict]")) {
      button.addEventListener("click", () => judge(opinions, place, button.dataset.verdict));
    }
    item.querySelector("[data-correct]")?.addEventListener("click", () => correct(viewer, opinions, place));
  }
}

function placeOf({ dataset }) {
  const numbers = (text) => (text ? text.split(",").map(Number) : null);
  return { scan: Number(dataset.scan), region: Number(dataset.region), name: dataset.name, voxel: numbers(dataset.peak), point: numbers(dataset.point) };
}

// Headers have left, back and head; the viewer has right, front and head.
function jump(viewer, { scan, voxel, point }) {
  const { main } = viewer;
  const pane = paneOf(viewer, scan);
  if (point && main.series.geometry) viewer.go([-point[0], -point[1], point[2]]);
  else if (pane) viewer.go(pane.grid.toMM(voxel), pane);
  else main.say("This place lies in a series that is not shown and that has no patient coordinates: open that series.");
}

const paneOf = (viewer, scan) => viewer.panes.find(({ series }) => series.study === viewer.data.study && series.number === scan);

async function judge(opinions, { scan, region }, verdict) {
  const stored = await opinions.send({ verdict, about: "region", scan, region, box: null, note: "" });
  if (stored) opinions.say(`Stored: region ${region}, ${stored.words}`);
}

// By the latest opinion of any reader.
export async function showStates(study) {
  const list = document.getElementById("regions");
  const response = list && await fetch(`/api/v1/studies/${study}/regions`);
  if (!response?.ok) return;
  for (const { scan, region, status } of await response.json()) {
    const item = list.querySelector(`li[data-scan="${scan}"][data-region="${region}"]`);
    if (!item) continue;
    item.dataset.status = status;
    item.querySelector(".status").textContent = WORDS[status];
  }
}

function correct(viewer, opinions, place) {
  const pane = paneOf(viewer, place.scan);
  if (!pane) {
    viewer.main.say(`Set ${place.name} beside first: its place is corrected in that series.`);
    return;
  }
  jump(viewer, place);
  if (viewer.tool !== "mark") viewer.press("mark");
  opinions.correct(place);
  opinions.say("Draw a box around the place, then press Tumor.");
}
