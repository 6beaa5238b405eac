// The checkout page: follows the payment, recognises the card, and sends a form once. Without it everything works too.
"use strict";

const brands = [
  [/^4/, "Visa", [4, 4, 4, 4, 3], 3],
  [/^3[47]/, "American Express", [4, 6, 5], 4],
  [/^(5[1-5]|67|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/, "MasterCard", [4, 4, 4, 4, 3], 3],
];

/** Groups the digits as on the card, tells its brand, and leaves the cursor where it was. */
function dressNumber(input, output, cvv) {
  const before = input.value.slice(0, input.selectionStart).replace(/\D/g, "").length;
  const digits = input.value.replace(/\D/g, "").slice(0, 19);
  const [, name, groups, cvvDigits] = brands.find(([start]) => start.test(digits)) ?? [null, "", [4, 4, 4, 4, 3], 4];
  let rest = digits;
  input.value = groups.map((size) => {
    const group = rest.slice(0, size);
    rest = rest.slice(size);
    return group;
  }).filter(Boolean).join(" ");
  let place = 0;
  for (let seen = 0; seen < before && place < input.value.length; place += 1) {
    if (/\d/.test(input.value[place])) seen += 1;
  }
  if (document.activeElement === input) input.setSelectionRange(place, place);
  output.textContent = name;
  cvv.maxLength = cvvDigits;
}

/** Puts the slash between month and year. */
function dressExpiry(input, event) {
  if (event.inputType?.startsWith("delete")) return;
  const digits = input.value.replace(/\D/g, "");
  if (!input.value.includes("/") && digits.length >= 2) input.value = `${digits.slice(0, 2)}/${digits.slice(2, 6)}`;
}

/** Waits for news of the payment; a sandbox that restarts is asked again. */
async function follow(path, seen) {
  let pause = 250;
  for (;;) {
    try {
      const answer = await fetch(`${path}/state?seen=${seen}`, { cache: "no-store" });
      const { state } = await answer.json();
      pause = 250;
      // A form that is on its way leads on by itself.
      if (document.querySelector("form[data-sent]")) return;
      if (state !== seen) return location.replace(state === null ? path : `${path}/result`);
    } catch {
      await new Promise((resume) => setTimeout(resume, pause));
      pause = Math.min(pause * 2, 5000);
    }
  }
}

const number = document.getElementById("number");
if (number) {
  const dress = () => dressNumber(number, document.getElementById("brand"), document.getElementById("cvv"));
  number.addEventListener("input", dress);
  dress();
  const expiry = document.getElementById("expiry");
  expiry.addEventListener("input", (event) => dressExpiry(expiry, event));
}
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
// A page that comes back out of the browser's cache may be of the past.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
document.querySelector("form[data-send]")?.submit();
const followed = document.querySelector("[data-follow]");
if (followed) follow(followed.dataset.follow, followed.dataset.seen);
