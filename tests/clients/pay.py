"""A payment with Python's standard library: paid, postback received and acknowledged, status confirmed."""
import base64, http.server, json, os, queue, ssl, threading, urllib.request

URL, CA, USER, PASSWORD = (os.environ["KPAY_" + name] for name in ("URL", "CA", "USERNAME", "PASSWORD"))
postbacks = queue.Queue()


class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        # The raw body: KPay has been seen to label its JSON as a form.
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"tid": body["tid"], "refid": body["refid"], "reply": "OK"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        postbacks.put(body)

    def log_message(self, *_):
        pass


def call(body, password=PASSWORD):
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()
    headers = {"Authorization": "Basic " + token, "Content-Type": "application/json"}
    request = urllib.request.Request(URL + "/", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=CA), timeout=10) as answer:
        assert answer.status == 200, f"HTTP {answer.status}: even a refusal comes with 200"
        return json.load(answer)


listener = http.server.HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=listener.serve_forever, daemon=True).start()
pay = {
    "action": "pay", "msisdn": "0783300000", "email": "customer@example.rw", "details": "order",
    "refid": f"PY-{os.getpid()}", "amount": 5000, "currency": "RWF", "cname": "Jane Customer", "cnumber": "123456789",
    "pmethod": "momo", "retailerid": "02", "returl": f"http://127.0.0.1:{listener.server_port}/postback",
    "redirecturl": "https://shop.example/thanks", "bankid": "63510",
}
accepted = call(pay)
assert accepted["reply"] == "PENDING" and accepted["retcode"] == 0, accepted
posted = postbacks.get(timeout=10)
assert posted["statusid"] == "01" and posted["payaccount"] == "0783300000", posted
status = call({"action": "checkstatus", "tid": accepted["tid"], "refid": pay["refid"]})
assert status == posted, (status, posted)
assert call(pay)["retcode"] == 608, "a used refid was taken again"
assert call(pay, "wrong")["retcode"] == 600, "a wrong password was taken"
print("python: ok")
