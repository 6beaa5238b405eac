// The ways in which a Node program can reach https://pay.esicia.com, each with the answer that came back. Run under
// `exec --isolation off`, so that nothing but the preload leads them to the sandbox. Prints one line for each way.
"use strict";

const [http, https, http2, net, tls] = ["http", "https", "http2", "net", "tls"].map(require);
const { once } = require("events");

const HEAD = "GET /__sandbox/livez HTTP/1.1\r\nHost: pay.esicia.com\r\nConnection: close\r\n\r\n";

/** Reads all that comes; returns the status of the response in it. */
async function statusOf(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk;
  return Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
}

const request = (module, options) =>
  new Promise((resolve, reject) => {
    const path = "/__sandbox/livez";
    const sent = module.request({ path, agent: false, ...options }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on("error", reject).end();
  });

const over = (stream) => {
  stream.write(HEAD);
  return statusOf(stream);
};

async function overHttp2(authority) {
  const session = http2.connect(authority);
  const stream = session.request({ ":path": "/__sandbox/livez" });
  const [headers] = await Promise.race([once(stream, "response"), once(session, "error").then(([error]) => Promise.reject(error))]);
  session.destroy();
  return headers[":status"];
}

/** A proxy of the program's own. What it is asked for is told: it must not be asked for KPay's hosts. */
const asked = [];
const proxy = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.on("data", (data) => {
    asked.push(data.toString("latin1").split("\r\n")[0]);
    socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  });
});
const toProxy = () => ({ host: "127.0.0.1", port: proxy.address().port });

const ways = {
  fetch: async () => (await fetch("https://pay.esicia.com/__sandbox/livez")).status,
  "fetch, last dot": async () => (await fetch("https://pay.esicia.com./__sandbox/livez")).status,
  https: () => request(https, { host: "pay.esicia.com" }),
  "https, upper case": () => request(https, { host: "PAY.ESICIA.COM" }),
  "https, last dot": () => request(https, { host: "pay.esicia.com." }),
  "https, live host": () => request(https, { host: "pay.esicia.rw" }),
  "https, to an address": () => request(https, { host: "192.0.2.1", servername: "pay.esicia.com" }),
  "https, exchange rates": () => request(https, { host: "esicia.rw", path: "/fx/?curr=USD" }),
  http: () => request(http, { host: "pay.esicia.com" }),
  http2: () => overHttp2("https://pay.esicia.com"),
  "tls(port, host)": () => over(tls.connect(443, "pay.esicia.com")),
  "tls(port, host, options)": () => over(tls.connect(443, "PAY.esicia.com", { servername: "pay.esicia.com" })),
  "tls on a socket": () => over(tls.connect({ socket: net.connect(443, "pay.esicia.com"), servername: "pay.esicia.com" })),
  "tls on a socket without a name": () =>
    over(tls.connect({ socket: net.connect({ host: "pay.esicia.com", port: 443 }), checkServerIdentity: () => undefined })),
  "tls on a socket to elsewhere": () => over(tls.connect({ socket: net.connect(toProxy()), servername: "pay.esicia.com" })),
  "CONNECT by http": async () => {
    const sent = http.request({ ...toProxy(), method: "CONNECT", path: "pay.esicia.com:443", agent: false }).end();
    const [, socket] = await once(sent, "connect");
    return over(tls.connect({ socket, servername: "pay.esicia.com" }));
  },
  "CONNECT by hand": async () => {
    const socket = net.connect(toProxy());
    socket.write("CONNECT PAY.esicia.com:443 HTTP/1.1\r\nHost: pay.esicia.com:443\r\n\r\n");
    await once(socket, "readable");
    if (!/^HTTP\/1\.1 200 /.test(socket.read())) return "no tunnel";
    return over(tls.connect({ socket, servername: "pay.esicia.com" }));
  },
  "another sandbox": async () => {
    const before = process.env.KPAY_SANDBOX_INTERCEPT;
    process.env.KPAY_SANDBOX_INTERCEPT = "127.0.0.1:1";
    try {
      return await request(https, { host: "pay.esicia.com" }).catch((error) => error.code);
    } finally {
      process.env.KPAY_SANDBOX_INTERCEPT = before;
    }
  },
  "another host": async () => {
    const server = http.createServer((_, response) => response.end()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const status = await request(http, { host: "127.0.0.1", port: server.address().port, path: "/" });
    server.close();
    return status;
  },
};

(async () => {
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  for (const [name, way] of Object.entries(ways)) {
    const late = new Promise((resolve) => setTimeout(resolve, 10_000, "nothing within 10 s").unref());
    const status = await Promise.race([way().catch((error) => `${error.code ?? ""} ${error.message}`), late]);
    console.log(`${name}: ${status}`);
  }
  console.log(`asked of the proxy: ${asked.filter((line) => /esicia/i.test(line)).length}`);
  process.exit(0);
})();
