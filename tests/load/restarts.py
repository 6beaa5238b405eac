#!/usr/bin/env python3
"""Kills the program again and again under load and starts it again on the same state file, on loopback only.

    python3 tests/load/restarts.py [--short] [--program target/release/kpay-sandbox] [--kills 200]

Each start must read the file. No tid may come twice among the payments that survive and those made later. --short kills
20 times, for tests/all.sh.
"""
import argparse, base64, json, os, random, signal, socket, ssl, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
AUTH = "Basic " + base64.b64encode(b"your_username:your_password").decode()
CONNECTIONS = 4


def read_answer(own):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = own.recv(65536)
        if not piece:
            raise OSError("the connection ended")
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        piece = own.recv(65536)
        if not piece:
            raise OSError("the connection ended")
        body += piece
    return json.loads(body)


class Listener:
    """Acknowledges every postback."""

    def __init__(self):
        self.server, self.count = socket.create_server(("127.0.0.1", 0), backlog=1024), 0
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            own, _ = self.server.accept()
            threading.Thread(target=self.answer, args=(own,), daemon=True).start()

    def answer(self, own):
        try:
            while data := own.recv(65536):
                body = json.loads(data.split(b"\r\n\r\n", 1)[1])
                self.count += 1
                reply = json.dumps({"tid": body["tid"], "refid": body["refid"], "reply": "OK"}).encode()
                own.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
        except (OSError, ValueError, IndexError):
            pass
        own.close()


class Run:
    """One start of the program."""

    def __init__(self, program, folder, number):
        self.ready, self.log = os.path.join(folder, "ready.json"), os.path.join(folder, "log.txt")
        command = [program, "--listen", "127.0.0.1:0", "--certs", os.path.join(folder, "certs"), "--ready-file", self.ready,
                   "--state", os.path.join(folder, "state.json"), "--state-interval", "50ms", "--quiet"]
        if os.path.exists(self.ready):
            os.remove(self.ready)
        self.process = subprocess.Popen(command, stdout=open(self.log, "w"), stderr=subprocess.STDOUT)
        end = time.time() + 30
        while not os.path.exists(self.ready):
            assert self.process.poll() is None, f"start {number} ended: {open(self.log).read()}"
            assert time.time() < end, f"start {number} takes too long"
            time.sleep(0.005)
        facts = json.load(open(self.ready))
        self.port, self.tls = facts["port"], ssl.create_default_context(cafile=facts["ca"])

    def connect(self):
        tcp = socket.create_connection(("127.0.0.1", self.port), 20)
        return self.tls.wrap_socket(tcp, server_hostname="localhost")

    def call(self, own, **body):
        text = json.dumps(body)
        own.sendall((f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {AUTH}\r\n"
                     f"Content-Length: {len(text)}\r\n\r\n{text}").encode())
        return read_answer(own)

    def pay(self, own, refid, returl):
        return self.call(own, action="pay", msisdn="0783300000", email="customer@example.rw", details="order", cname="Jane",
                         refid=refid, amount=5000, currency="RWF", cnumber="C-1", pmethod="momo", retailerid="02",
                         returl=returl, redirecturl="https://shop.example/thanks", bankid="63510")


def load(run, number, worker, returl, acknowledged, wrong):
    """Pays until the program is gone."""
    try:
        own = run.connect()
        count = 0
        while True:
            refid = f"R{number}-{worker}-{count}"
            answer = run.pay(own, refid, returl)
            if answer["retcode"] != 0:
                wrong.append(answer)
                return
            acknowledged.append((refid, answer["tid"]))
            count += 1
    except OSError:
        pass


def survivors(run, acknowledged):
    """The payments of these that the restarted program knows, newest first, up to the first hundred."""
    own, found = run.connect(), []
    for refid, tid in acknowledged:
        status = run.call(own, action="checkstatus", refid=refid)
        if status.get("statusid") in ("01", "02", "03"):
            assert status["tid"] == tid, (refid, tid, status)
            found.append((refid, tid))
        else:
            assert status.get("statusid") == "611", status
    own.close()
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--short", action="store_true")
    arguments.add_argument("--program", default=os.path.join(HERE, "../../target/release/kpay-sandbox"))
    arguments.add_argument("--kills", type=int)
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    given = arguments.parse_args()
    program, kills = os.path.abspath(given.program), given.kills or (20 if given.short else 200)
    if not os.access(program, os.X_OK):
        sys.exit(f"{program} does not exist. Build it with cargo build --release, or name another with --program")
    print(f"restarts: seed {given.seed}")
    chance, listener = random.Random(given.seed), Listener()
    kept, seen, lost = {}, set(), 0
    with tempfile.TemporaryDirectory() as folder:
        before = []
        for number in range(kills + 1):
            run = Run(program, folder, number)
            try:
                leftovers = [name for name in os.listdir(folder) if name.startswith("state.json.")]
                assert set(leftovers) <= {"state.json.lock", "state.json.tmp"}, leftovers
                alive = survivors(run, before)
                lost += len(before) - len(alive)
                for refid, tid in alive:
                    assert kept.get(tid, refid) == refid, f"{tid} is the tid of {kept[tid]} and of {refid}"
                    kept[tid] = refid
                # What survived once stays.
                sample = [(refid, tid) for tid, refid in chance.sample(sorted(kept.items()), min(20, len(kept)))]
                assert survivors(run, sample) == sample, "a payment that was saved is gone"
                acknowledged, wrong = [], []
                threads = [threading.Thread(target=load, args=(run, number, worker, listener.url, acknowledged, wrong))
                           for worker in range(CONNECTIONS)]
                for thread in threads:
                    thread.start()
                time.sleep(chance.uniform(0, 0.3))
            finally:
                os.kill(run.process.pid, signal.SIGKILL)
                run.process.wait()
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive(), "a client still waits"
            assert not wrong, f"a payment was refused: {wrong[0]}"
            # Not even the tid of a payment that was lost comes again.
            again = [tid for _, tid in acknowledged if tid in seen]
            assert not again, f"the tid {again[0]} came twice"
            seen.update(tid for _, tid in acknowledged)
            before = list(acknowledged)
        assert kept, "no payment survived: nothing was tested"
        assert listener.count, "no postback came: nothing was tested"
        with open(os.path.join(folder, "state.json")) as file:
            saved = [payment for payment in json.load(file)["transactions"] if isinstance(payment, dict)]
        tids = [payment["tid"] for payment in saved]
        assert len(tids) == len(set(tids)), "a tid is there twice"
        assert set(kept) <= set(tids), "a payment that was saved is gone"
    print(f"restarts: killed {kills + 1} times; {len(seen)} payments acknowledged, {len(kept)} survived, {lost} were made after the last "
          f"save; {listener.count} postbacks; each start read its file")


main()
