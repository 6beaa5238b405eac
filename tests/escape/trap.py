"""Stands where KPay would be: trap.py LOG. Each connection to it, and each that a proxy would make, is a line in the log."""

import socket
import socketserver
import sys
import threading

log = open(sys.argv[1], "a", buffering=1)


class Kpay(socketserver.BaseRequestHandler):
    def handle(self):
        print("connection to KPay", file=log)


class CorporateProxy(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self):
        # It looks names up itself, so this host would be the real one.
        line = self.rfile.readline(4096).decode(errors="replace")
        if "esicia" in line:
            print("by a proxy:", line.strip(), file=log)
        self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100


servers = [
    Server(("10.1.1.1", 443), Kpay),
    Server(("10.1.1.1", 80), Kpay),
    Server(("127.1.1.2", 3128), CorporateProxy),
]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print("ready", flush=True)
# Ends with the script that started it.
sys.stdin.read()
