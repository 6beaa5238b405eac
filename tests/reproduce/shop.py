"""A shop's listener: acknowledges every postback, but the first two of `retried-postback`. Writes its address to a file."""
import http.server, json, os, sys

refused = {}


class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            body = json.loads(raw)
        except ValueError:
            return self.answer(400, {"reply": "unreadable"})
        tid = body["tid"]
        if body["refid"] == "retried-postback" and refused.setdefault(tid, 0) < 2:
            refused[tid] += 1
            return self.answer(503, {"reply": "later"})
        refused.pop(tid, None)
        self.answer(200, {"tid": tid, "refid": body["refid"], "reply": "OK"})

    def answer(self, status, body):
        answer = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"http://127.0.0.1:{server.server_port}/postback")
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
