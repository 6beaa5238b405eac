// The dashboard: loads the parts of its page again when something has happened, and presses buttons without leaving it.
// Without it the pages are as they were when they were opened, and buttons lead back to them.
"use strict";

const live = document.getElementById("live");
const said = document.getElementById("said");

/** Puts what is new into the page; what is unfolded stays so, and the cursor stays where it was. */
function takeOver(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = fresh.getElementById(part.id);
    if (!newer || newer.innerHTML === part.dataset.shown) continue;
    const open = [...part.querySelectorAll("details[open]")].map((one) => one.id);
    const focused = part.contains(document.activeElement) ? pathTo(part, document.activeElement) : null;
    part.dataset.shown = newer.innerHTML;
    part.replaceChildren(...newer.childNodes);
    for (const id of open) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
    if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
  }
  tick();
}

/** Something that finds the same control in a newer version of the page. */
function pathTo(part, element) {
  const same = (one) => `${one.localName}${one.name ? `[name="${CSS.escape(one.name)}"]` : ""}${one.value ? `[value="${CSS.escape(one.value)}"]` : ""}`;
  if (element.id) return `#${CSS.escape(element.id)}`;
  return element.dataset.key ? `[data-key="${CSS.escape(element.dataset.key)}"]` : same(element);
}

let loading = false;
let wanted = false;
let pressing = false;
/** Loads the page again; what comes meanwhile is one more time. */
async function refresh() {
  if (loading || pressing || document.hidden) {
    wanted = true;
    return;
  }
  loading = true;
  wanted = false;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.status === 401) return location.reload();
    const text = await answer.text();
    // A button that is being pressed must still be there when it is let go.
    if (pressing) wanted = true;
    else if (answer.ok) takeOver(new DOMParser().parseFromString(text, "text/html"));
  } catch {
    live.textContent = "The sandbox does not answer. This page tries again.";
  } finally {
    loading = false;
  }
  if (wanted) setTimeout(refresh, 400);
}

/** Lets the clock shown go on between two looks. */
const shownAt = new WeakMap();
function tick() {
  for (const time of document.querySelectorAll("time[data-ms]")) {
    if (!shownAt.has(time)) shownAt.set(time, performance.now());
    const passed = (performance.now() - shownAt.get(time)) * Number(time.dataset.speed);
    const now = new Date(Number(time.dataset.ms) + passed);
    if (Number.isFinite(now.getTime())) time.textContent = now.toISOString().slice(0, 19).replace("T", " ");
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-do]")) return;
  event.preventDefault();
  const button = event.submitter;
  if (button?.dataset.sure && !confirm(button.dataset.sure)) return;
  said.hidden = true;
  button?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, button)) });
    if (!answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const words = ["message", "hint"].map((id) => page.getElementById(id)?.textContent ?? "");
      said.textContent = `${words[0] || `HTTP ${answer.status}`}: ${words[1]}`;
      said.hidden = false;
    }
  } catch {
    said.textContent = "The sandbox does not answer: is it still running?";
    said.hidden = false;
  }
  button?.removeAttribute("aria-busy");
  refresh();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    // A page over plain HTTP may not use the clipboard: the text is marked, for the keyboard's own copy.
    getSelection().selectAllChildren(text);
    button.textContent = "Marked: copy it";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

function caughtUp() {
  pressing = false;
  if (wanted) refresh();
}
document.addEventListener("pointerdown", () => { pressing = true; });
// The click follows the release.
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => setTimeout(caughtUp));
document.addEventListener("visibilitychange", () => { if (wanted) refresh(); });
if (document.querySelector("[data-live]")) {
  for (const part of document.querySelectorAll("[data-live]")) part.dataset.shown = part.innerHTML;
  const events = new EventSource("/__sandbox/live");
  events.onopen = () => { live.textContent = "Live"; };
  events.onmessage = refresh;
  events.onerror = () => {
    // It connects again by itself; what it missed is loaded then.
    live.textContent = "The sandbox does not answer. This page tries again.";
  };
  setInterval(tick, 500);
}
