// Loaded before a Node program by kpay-sandbox: connections to KPay's hosts lead to the sandbox. Nothing else changes:
// names, certificates and their verification stay as they are. KPAY_SANDBOX_INTERCEPT is read at each connection.
"use strict";

const net = require("net");
const tls = require("tls");

const KPAY = /^(pay\.esicia\.com|(pay\.)?esicia\.rw)\.?$/i;
// Also without a port: a proxy takes the usual one.
const CONNECT = /^CONNECT (pay\.esicia\.com|(?:pay\.)?esicia\.rw)\.?(?::\d+)? HTTP\//i;
const ESTABLISHED = "HTTP/1.1 200 Connection Established\r\n\r\n";

const isKpay = (name) => typeof name === "string" && KPAY.test(name);

/** Returns the sandbox's address, if connections are to lead there. */
function sandbox() {
  const [, host, port] = /^(.*):(\d+)$/.exec(process.env.KPAY_SANDBOX_INTERCEPT ?? "") ?? [];
  return port && { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

/** Sockets that lead to the sandbox. */
const led = new WeakSet();
/** Sockets to other proxies, and the host that a tunnel was asked for. Nothing of the request was sent. */
const tunnels = new WeakMap();

/** Takes note that a socket leads to the sandbox. It shows the port that was meant: HTTP/2 derives its origin from that. */
function lead(socket, port) {
  led.add(socket);
  Object.defineProperty(socket, "remotePort", { value: Number(port), configurable: true });
}

/** Takes `(options)`, `(port, host, options)` and `(port, options)` apart. */
function optionsOf(args) {
  if (typeof args[0] === "object" && args[0] !== null) return { options: args[0], rest: args.slice(1) };
  const [port, ...others] = args;
  const host = typeof others[0] === "string" ? others.shift() : undefined;
  const more = typeof others[0] === "object" && others[0] !== null ? others.shift() : {};
  return { options: { ...more, port, ...(host !== undefined && { host }) }, rest: others };
}

// Every connection begins here, those of http, https, http2, tls and fetch too.
const { connect, write } = net.Socket.prototype;
net.Socket.prototype.connect = function (...args) {
  const to = sandbox();
  // Node's own modules pass their arguments as one list, with a mark of its own.
  const list = Array.isArray(args[0]) ? args[0] : undefined;
  const { options, rest } = optionsOf(list ?? args);
  const kpays = to && !options.path && isKpay(options.host);
  led.delete(this);
  delete this.remotePort;
  if (kpays) lead(this, options.port);
  else if (to && options.host === to.host && Number(options.port) === to.port) led.add(this);
  if (!kpays) return connect.apply(this, args);
  const elsewhere = { ...options, ...to, lookup: undefined };
  if (!list) return connect.call(this, elsewhere, ...rest);
  const marked = list.slice();
  for (const mark of Object.getOwnPropertySymbols(list)) marked[mark] = list[mark];
  marked[0] = elsewhere;
  return connect.call(this, marked);
};

// A program that names its proxy itself asks it for a tunnel to KPay. It is told that it has one, and the proxy is not.
net.Socket.prototype.write = function (chunk, encoding, done) {
  const text = typeof chunk === "string" ? chunk : chunk?.[0] === 67 ? Buffer.from(chunk).toString("latin1", 0, 256) : "";
  const [, host] = (text.startsWith("C") && CONNECT.exec(text)) || [];
  if (!host || !sandbox() || led.has(this)) return write.call(this, chunk, encoding, done);
  tunnels.set(this, host);
  const answer = () => this.push(ESTABLISHED);
  if (this.connecting) this.once("connect", answer);
  else process.nextTick(answer);
  const callback = typeof encoding === "function" ? encoding : done;
  if (callback) process.nextTick(callback);
  return true;
};

// TLS on a socket that exists already, or to an address that is said to be KPay's.
const { connect: secure } = tls;
tls.connect = function (...args) {
  const to = sandbox();
  const { options, rest } = optionsOf(args);
  const { socket } = options;
  const name = (socket && tunnels.get(socket)) ?? options.servername ?? options.host;
  const known = socket ? led.has(socket) : isKpay(options.host);
  if (!to || known || !isKpay(name)) return secure.apply(this, args);
  const stream = secure.call(
    this,
    { ...options, servername: options.servername || name, ...to, socket: undefined, path: undefined, lookup: undefined },
    ...rest,
  );
  lead(stream, options.port ?? 443);
  if (socket) {
    socket.unref?.();
    stream.once("close", () => socket.destroy());
  }
  return stream;
};

require("module").syncBuiltinESMExports();
