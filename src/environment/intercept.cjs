// Loaded before a Node program by kpay-sandbox: connections to KPay's hosts lead to the sandbox. Nothing else changes:
// names, certificates and their verification stay as they are.
"use strict";

const [, host, port] = /^(.*):(\d+)$/.exec(process.env.KPAY_SANDBOX_INTERCEPT ?? "") ?? [];
if (port) {
  const kpay = new Set(["pay.esicia.rw", "pay.esicia.com"]);
  const tls = require("tls");
  const { connect } = tls;
  tls.connect = function (options, ...rest) {
    const name = options?.host ?? options?.hostname;
    if (!options?.socket && kpay.has(name)) {
      options = { ...options, servername: options.servername || name, host, port: Number(port), path: undefined };
    }
    return connect.call(this, options, ...rest);
  };
  require("module").syncBuiltinESMExports();
}
