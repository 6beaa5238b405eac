// Every built-in scenario with Node's fetch: chosen by the next queue, driven by the control API.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const { KPAY_URL, KPAY_USERNAME, KPAY_PASSWORD, KPAY_CONTROL, SHOP_URL } = process.env;
const authorization = `Basic ${Buffer.from(`${KPAY_USERNAME}:${KPAY_PASSWORD}`).toString("base64")}`;

async function api(method, path, body) {
  const answer = await fetch(`${KPAY_CONTROL}/${path}`, { method, body: body && JSON.stringify(body) });
  const value = await answer.json();
  assert.ok(answer.ok, `${method} ${path}: ${JSON.stringify(value)}`);
  return value;
}

function kpay(body, patience = 10_000) {
  const signal = AbortSignal.timeout(patience);
  return fetch(`${KPAY_URL}/`, { method: "POST", headers: { authorization }, body: JSON.stringify(body), signal });
}

async function pay(scenario, refid, patience = 10_000) {
  await api("POST", "next", { scenario });
  let answer;
  try {
    answer = await kpay({
      msisdn: "0783300000", email: "customer@example.rw", details: "order", refid, amount: 5000, cname: "Jane Customer",
      cnumber: "1", pmethod: "momo", retailerid: "02", returl: SHOP_URL, redirecturl: "https://shop.example/thanks", bankid: "63510",
    }, patience);
  } catch (error) {
    return error.name === "TimeoutError" ? "timeout" : "reset";
  }
  if (answer.status !== 200) return String(answer.status);
  let text;
  try {
    text = await answer.text();
  } catch {
    return "cut";
  }
  if (text === "") return "empty";
  try {
    return String(JSON.parse(text).retcode);
  } catch {
    return "malformed";
  }
}

async function status(refid) {
  return (await (await kpay({ action: "checkstatus", refid })).json()).statusid;
}

function told(delivery) {
  try {
    return JSON.parse(delivery.body).statusid;
  } catch {
    return "unreadable";
  }
}

const rows = readFileSync(new URL("expected.tsv", import.meta.url), "utf8").trim().split("\n");
for (const [scenario, , answer, posted, statuses] of rows.map((row) => row.split("\t"))) {
  await api("POST", "reset");
  const got = [await pay(scenario, scenario, answer === "timeout" ? 1_000 : 10_000)];
  if (scenario === "reordered-postbacks") await pay(scenario, `${scenario}-2`);
  if (scenario === "approve-at-third-try") {
    for (const number of [2, 3]) {
      await api("POST", "clock/settle");
      await pay(scenario, `${scenario}-${number}`);
    }
  }
  if (scenario === "await-payer") await api("POST", `transactions/${scenario}/settle`, { statusid: "01" });
  await api("POST", "clock/settle");
  const { deliveries } = await api("GET", "deliveries");
  got.push(deliveries.reverse().map(told).join(",") || "-");
  const first = [await status(scenario), await status(scenario)];
  await api("POST", "clock/advance", { by: "1m" });
  got.push([...first, await status(scenario)].join(","));
  assert.deepEqual(got, [answer, posted, statuses], scenario);
}
console.log("node: every scenario");
