// Times in the reader's own time zone; pages have them in UTC.
const two = (number) => String(number).padStart(2, "0");

export function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    if (Number.isNaN(time.getTime())) continue;
    element.title = `${time.toLocaleString()} (${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
    element.textContent = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
  }
}
