// Show times, which pages have in UTC, in the reader's time zone.
const twoDigits = (number) => String(number).padStart(2, "0");

export function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const time = new Date(element.dateTime);
    if (Number.isNaN(time.getTime())) continue;
    element.title = `${time.toLocaleString()} (${Intl.DateTimeFormat().resolvedOptions().timeZone})`;
    element.textContent = `${time.getFullYear()}-${twoDigits(time.getMonth() + 1)}-${twoDigits(time.getDate())} ${twoDigits(time.getHours())}:${twoDigits(time.getMinutes())}`;
  }
}
