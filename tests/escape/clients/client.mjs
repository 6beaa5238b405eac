// Asks for a payment with one of Node's clients: node client.mjs NAME. Bun runs it as well.
import https from "node:https";
import http2 from "node:http2";
import tls from "node:tls";

const body = '{"action":"checkstatus","refid":"none"}';
const auth = "Basic " + Buffer.from("your_username:your_password").toString("base64");
const headers = { authorization: auth, "content-type": "application/json" };

const collect = (stream) =>
  new Promise((resolve, reject) => {
    let text = "";
    stream.setEncoding("utf8");
    stream.on("data", (piece) => (text += piece)).on("end", () => resolve(text)).on("error", reject);
  });

const request = (options) =>
  new Promise((resolve, reject) => {
    const asked = https.request({ method: "POST", path: "/", headers, ...options }, (answer) => resolve(collect(answer)));
    asked.on("error", reject).end(body);
  });

const clients = {
  fetch: async () => (await fetch("https://pay.esicia.com/", { method: "POST", headers, body })).text(),
  https: () => request({ host: "pay.esicia.com" }),
  capitals: () => request({ host: "PAY.ESICIA.COM" }),
  http2: async () => {
    const session = http2.connect("https://pay.esicia.com");
    const failed = new Promise((_, reject) => session.on("error", reject));
    const stream = session.request({ ":method": "POST", ":path": "/", ...headers });
    stream.end(body);
    const text = await Promise.race([collect(stream), failed]);
    session.close();
    return text;
  },
  tls: async () => {
    const socket = tls.connect(443, "pay.esicia.com", { servername: "pay.esicia.com" });
    const length = Buffer.byteLength(body);
    const head = `POST / HTTP/1.1\r\nHost: pay.esicia.com\r\nAuthorization: ${auth}\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`;
    socket.write(head + body);
    return collect(socket);
  },
  got: async () => {
    const { default: got } = await import("got");
    return (await got.post("https://pay.esicia.com/", { headers, body, http2: true, retry: { limit: 0 } })).body;
  },
  axios: async () => {
    const { default: axios } = await import("axios");
    return JSON.stringify((await axios.post("https://pay.esicia.com/", body, { headers })).data);
  },
};

try {
  console.log(await clients[process.argv[2]]());
} catch (error) {
  console.log(`failed: ${error.cause ?? error}`);
}
process.exit(0);
