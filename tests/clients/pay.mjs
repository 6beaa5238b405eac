// A payment with Node's own fetch, the CA trusted through NODE_EXTRA_CA_CERTS.
import assert from "node:assert/strict";
import http from "node:http";

const { KPAY_URL, KPAY_USERNAME, KPAY_PASSWORD } = process.env;
const listener = http.createServer();
const postback = new Promise((resolve) => {
  listener.on("request", async (request, response) => {
    // The raw body: KPay has been seen to label its JSON as a form.
    let raw = "";
    for await (const chunk of request) raw += chunk;
    const body = JSON.parse(raw);
    response.end(JSON.stringify({ tid: body.tid, refid: body.refid, reply: "OK" }));
    resolve(body);
  });
});
await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));

async function call(body, password = KPAY_PASSWORD) {
  const token = Buffer.from(`${KPAY_USERNAME}:${password}`).toString("base64");
  const answer = await fetch(`${KPAY_URL}/`, {
    method: "POST",
    headers: { Authorization: `Basic ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  assert.equal(answer.status, 200, "even a refusal comes with HTTP 200");
  return answer.json();
}

const pay = {
  action: "pay", msisdn: "0783300000", email: "customer@example.rw", details: "order", refid: `JS-${process.pid}`,
  amount: 5000, currency: "RWF", cname: "Jane Customer", cnumber: "123456789", pmethod: "momo", retailerid: "02",
  returl: `http://127.0.0.1:${listener.address().port}/postback`, redirecturl: "https://shop.example/thanks", bankid: "63510",
};
const accepted = await call(pay);
assert.equal(accepted.reply, "PENDING");
assert.equal(accepted.retcode, 0);
const posted = await postback;
assert.equal(posted.statusid, "01");
assert.deepEqual(await call({ action: "checkstatus", tid: accepted.tid, refid: pay.refid }), posted);
assert.equal((await call(pay)).retcode, 608, "a used refid was taken again");
assert.equal((await call(pay, "wrong")).retcode, 600, "a wrong password was taken");
listener.close();
listener.closeAllConnections();
console.log("node: ok");
