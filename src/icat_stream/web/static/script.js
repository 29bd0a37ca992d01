// Times in the viewer's zone, parts that refresh themselves, light or dark: all else works
// without a script.
"use strict";

const pad = (number) => String(number).padStart(2, "0");

// ISO, in the viewer's zone as it was at that time, with the offset.
function exact(at) {
  const minutes = -at.getTimezoneOffset();
  const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`
    + ` ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`
    + ` ${minutes < 0 ? "-" : "+"}${pad(hours)}:${pad(rest)}`;
}

function localise(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = `${exact(at)} (${time.dateTime})`;
    if (!time.classList.contains("age")) time.textContent = exact(at);
  }
}

async function refresh(part) {
  // Nothing moves under a finger, and an opened table stays open.
  if (document.hidden || part.matches(":focus-within, :hover") || part.querySelector("details[open]")) return;
  try {
    const answer = await fetch(location.href, { headers: { "Accept": "text/html", "X-Refresh": "1" } });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-refresh]");
    if (fresh) {
      localise(fresh);
      part.replaceChildren(...fresh.childNodes);
    }
  } catch {
    // The next time may go better.
  }
}

function theme() {
  const kept = localStorage.getItem("theme");
  if (kept) document.documentElement.dataset.theme = kept;
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme
      ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
  });
}

theme();
localise(document);
for (const part of document.querySelectorAll("[data-refresh]")) {
  setInterval(refresh, Number(part.dataset.refresh) * 1000, part);
}
