// A shop: PORT=3000 node shop.js. Orders are kept in memory.
import express from "express";

const KPAY = "https://pay.esicia.com/";
const POSTBACK = "https://shop.example/kpay/postback";
const orders = new Map();

/** Calls KPay; null when no answer came that could be read, which says nothing about the payment. */
async function kpay(message) {
  const { KPAY_USERNAME, KPAY_PASSWORD } = process.env;
  const authorization = "Basic " + Buffer.from(`${KPAY_USERNAME}:${KPAY_PASSWORD}`).toString("base64");
  try {
    const answer = await fetch(KPAY, {
      method: "POST",
      headers: { Authorization: authorization, "Content-Type": "application/json" },
      body: JSON.stringify(message),
      signal: AbortSignal.timeout(30_000),
    });
    return await answer.json();
  } catch (error) {
    console.error("kpay:", error.cause ?? error);
    return null;
  }
}

/** Asks KPay how an order stands, and settles it once: whatever else is told is only a reason to ask. */
async function confirm(id) {
  const status = await kpay({ action: "checkstatus", refid: id });
  // 03 is pending; 611 after an answer that was lost is not final either.
  if (!status || ["03", "611"].includes(status.statusid)) return;
  const order = orders.get(id);
  if (order?.state !== "pending") return;
  order.state = status.statusid === "01" ? "paid" : "failed";
  if (order.state === "paid") order.credits += 1;
}

const app = express();

app.post("/orders", express.urlencoded(), async (request, response) => {
  const { id, amount, msisdn } = request.body;
  orders.set(id, { state: "pending", credits: 0 });
  const answer = await kpay({
    action: "pay", msisdn, email: "customer@example.rw", details: `Order ${id}`, refid: id, amount, currency: "RWF",
    cname: "Jane Customer", cnumber: "1", pmethod: "momo", retailerid: "02", returl: POSTBACK,
    redirecturl: `https://shop.example/orders/${id}`, bankid: "63510",
  });
  // 608 means that an earlier attempt arrived after all; no answer means that nobody knows. Both are for checkstatus.
  if (answer && answer.retcode !== 0 && answer.retcode !== 608) orders.get(id).state = "failed";
  response.send("ordered");
});

// The raw body: express.json() would follow the label, and KPay has been seen to label JSON as a form.
app.post("/kpay/postback", express.text({ type: () => true }), async (request, response) => {
  let postback;
  try {
    postback = JSON.parse(request.body);
  } catch {
    return response.status(400).send("not a postback");
  }
  await confirm(postback.refid);
  response.json({ tid: postback.tid, refid: postback.refid, reply: "OK" });
});

app.post("/orders/:id/ask", async (request, response) => {
  await confirm(request.params.id);
  response.send("asked");
});

app.get("/orders/:id", (request, response) => {
  const order = orders.get(request.params.id);
  response.send(order ? `${order.state} ${order.credits}` : "unknown");
});

app.listen(Number(process.env.PORT), "127.0.0.1");
