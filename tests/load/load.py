#!/usr/bin/env python3
"""Load and faults against a running sandbox, on loopback only, each bounded in time.

    python3 tests/load/load.py [--short] [--program target/release/kpay-sandbox] [NAME ...]

--short takes a hundredth of each load, for tests/all.sh. `soak` runs only when it is named: --seconds and --rate choose
how long and how much.
"""
import argparse, atexit, base64, glob, http.client, json, os, resource, signal, socket, ssl, struct, subprocess, sys, tempfile, threading, time
from datetime import datetime

HERE = os.path.dirname(os.path.abspath(__file__))
AUTH = "Basic " + base64.b64encode(b"your_username:your_password").decode()


class Sandbox:
    """The program on a free port, with a CA of its own."""

    def __init__(self, program, *flags, limit=None, log=None, env=None):
        self.folder = tempfile.TemporaryDirectory()
        ready = os.path.join(self.folder.name, "ready.json")
        self.log = log or os.path.join(self.folder.name, "log.txt")
        before = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))) if limit else None
        certs = os.path.join(self.folder.name, "certs")
        command = [program, "--listen", "127.0.0.1:0", "--certs", certs, "--ready-file", ready, *flags]
        self.process = subprocess.Popen(command, stdout=open(self.log, "w"), stderr=subprocess.STDOUT, preexec_fn=before,
                                        env={**os.environ, **(env or {})})
        # Also where a check fails, nothing is left running; one that has ended already is not touched.
        atexit.register(self.process.kill)
        until(lambda: os.path.exists(ready), "the sandbox starts")
        self.facts = json.load(open(ready))
        self.port, self.pid = self.facts["port"], self.process.pid
        self.tls = ssl.create_default_context(cafile=self.facts["ca"])
        self.number = 0

    def connect(self, timeout=20):
        tcp = socket.create_connection(("127.0.0.1", self.port), timeout)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(tcp, server_hostname="localhost")

    def pay_bytes(self, returl="http://127.0.0.1:9/cb", msisdn="0780000003", user=None):
        self.number += 1
        body = json.dumps({
            "action": "pay", "msisdn": msisdn, "email": "customer@example.rw", "details": "order", "cname": "Jane",
            "refid": f"L{self.number}", "amount": 5000, "currency": "RWF", "cnumber": "C-1", "pmethod": "momo",
            "retailerid": "02", "returl": returl, "redirecturl": "https://shop.example/thanks", "bankid": "63510"})
        return self.request(body, user)

    def status_bytes(self, tid, user=None):
        return self.request(json.dumps({"action": "checkstatus", "tid": tid}), user)

    @staticmethod
    def request(body, user):
        auth = "Basic " + base64.b64encode(f"{user}:x".encode()).decode() if user else AUTH
        return (f"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {auth}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def pay(self, connection=None, **how):
        own = connection or self.connect()
        own.sendall(self.pay_bytes(**how))
        answer = read_answer(own)
        if connection is None:
            own.close()
        return json.loads(answer)

    def api(self, method, path, body=None):
        # A saved state arrives in chunks, which the library joins.
        own = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        own.request(method, f"/__sandbox/api/{path}", json.dumps(body) if body is not None else None, {"Connection": "close"})
        try:
            return json.loads(own.getresponse().read())
        finally:
            own.close()

    def resident(self):
        """KiB."""
        return next(int(line.split()[1]) for line in open(f"/proc/{self.pid}/status") if line.startswith("VmRSS"))

    def latencies(self, count=300):
        """Seconds, sorted, of payments on one kept connection after a few to warm it up."""
        own, times = self.connect(), []
        for index in range(count + 20):
            began = time.perf_counter()
            self.pay(own)
            if index >= 20:
                times.append(time.perf_counter() - began)
        own.close()
        return sorted(times)

    def said(self, text):
        return text in open(self.log, errors="replace").read()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        assert code == 0, f"it ended with {code}: {open(self.log).read()[-500:]}"
        self.folder.cleanup()


def read_answer(own):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = own.recv(65536)
        assert piece, f"the connection ended after {data!r}"
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    length = next(int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length"))
    while len(body) < length:
        body += own.recv(65536)
    return body


def until(holds, what, seconds=30):
    end = time.time() + seconds
    while not holds():
        assert time.time() < end, f"in vain: {what}"
        # Files and processes of another program tell nobody that they have changed.
        time.sleep(0.02)


def say_nothing(own):
    """Takes what comes and answers nothing, until the other side hangs up."""
    try:
        while own.recv(65536):
            pass
    except OSError:
        pass
    own.close()


def p99(times):
    return times[int(len(times) * 0.99)]


def listener(answer):
    """Accepts on a free port and gives each connection to `answer` in a thread; the port and how many came."""
    server, count = socket.create_server(("127.0.0.1", 0), backlog=1024), [0]

    def accept():
        while True:
            try:
                own, _ = server.accept()
            except OSError:
                return
            count[0] += 1
            threading.Thread(target=answer, args=(own,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server.getsockname()[1], count, server


def idle(program, scale):
    """Many idle connections and many that send a byte a second: others' p99 stays within twice the usual one."""
    sandbox = Sandbox(program)
    usual = p99(sandbox.latencies())
    idle, slow = int(10_000 * scale), int(1_000 * scale)
    held = [socket.create_connection(("127.0.0.1", sandbox.port)) for _ in range(idle + slow)]
    stop = threading.Event()

    def drip():
        while not stop.wait(1):
            for own in held[:slow]:
                try:
                    own.send(b"P")
                except OSError:
                    pass

    threading.Thread(target=drip, daemon=True).start()
    loaded = p99(sandbox.latencies(1000))
    stop.set()
    for own in held:
        own.close()
    print(f"idle: {idle} idle and {slow} slow: p99 {loaded * 1e6:.0f} µs, usually {usual * 1e6:.0f} µs")
    # A machine that is busy otherwise has outliers of its own.
    assert loaded <= 2 * usual + 0.002, (loaded, usual)
    sandbox.end()


def handshakes(program, scale):
    """A flood of half handshakes: others are served, and every half one is ended."""
    sandbox, count = Sandbox(program), int(5_000 * scale)
    hello = bytes.fromhex("16030102000100" + "01fc0303") + bytes(40)
    held = []
    for _ in range(count):
        own = socket.create_connection(("127.0.0.1", sandbox.port))
        own.sendall(hello)
        held.append(own)
    assert sandbox.pay()["retcode"] == 0
    for own in held:
        own.settimeout(30)
        while own.recv(4096):
            pass
    print(f"handshakes: {count} half ones, all ended, others served, {sandbox.resident() / 1024:.0f} MiB")
    sandbox.end()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def h2(program, scale):
    """Rapid reset, a thousand streams, huge header lists, a flood of CONTINUATION: each is bounded and hurts nobody else."""
    sandbox = Sandbox(program)
    # :method GET, :scheme https, :path /, :authority localhost as literals without indexing.
    head = b"\x82\x87\x84\x01\x09localhost"

    def attack(name, frames):
        tls = ssl.create_default_context(cafile=sandbox.facts["ca"])
        tls.set_alpn_protocols(["h2"])
        own = tls.wrap_socket(socket.create_connection(("127.0.0.1", sandbox.port), 30), server_hostname="localhost")
        sent = 0
        try:
            own.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            for piece in frames:
                own.sendall(piece)
                sent += 1
            ended = False
        except OSError:
            ended = True
        assert sandbox.pay()["retcode"] == 0, name
        own.close()
        print(f"h2: {name}: {'ended by the server after ' + str(sent) if ended else 'took all ' + str(sent)} pieces; others served")
        return ended

    many = max(2_000, int(100_000 * scale))
    before = sandbox.resident()
    assert attack("rapid reset", (frame(1, 5, 2 * n + 1, head) + frame(3, 0, 2 * n + 1, b"\0\0\0\x08") for n in range(many)))
    attack("1000 streams at once", (frame(1, 4, 2 * n + 1, head) for n in range(1000)))
    literal = b"\x00\x7f\xa1\x1f" + b"n" * 4128 + b"\x7f\xa1\x1f" + b"v" * 4128
    attack("header lists of 800 KB", (frame(1, 0, 2 * n + 1, head) + b"".join(frame(9, 4 if last == 99 else 0, 2 * n + 1, literal) for last in range(100)) for n in range(20)))
    assert attack("CONTINUATION without an end", [frame(1, 0, 1, head)] + [frame(9, 0, 1, literal)] * many)
    grown = sandbox.resident() - before
    print(f"h2: {grown / 1024:.0f} MiB more than before")
    assert grown < 100 * 1024, grown
    sandbox.end()


def large_states(sandbox, count):
    """Makes payments with padded bodies, so that the journal is large. Returns the bytes of `GET state`."""
    own, made = sandbox.connect(), 0
    while made < count:
        batch = min(16, count - made)
        own.sendall(b"".join(sandbox.request(sandbox.pay_bytes().split(b"\r\n\r\n", 1)[1].decode() + " " * 60_000, None)
                             for _ in range(batch)))
        for _ in range(batch):
            assert json.loads(read_one(own))["retcode"] == 0
        made += batch
    own.close()
    return len(json.dumps(sandbox.api("GET", "state")))


def is_open(own):
    """Returns False once the server has reset or closed the connection. Reads nothing."""
    if own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return False
    try:
        ours = "0100007F:%04X 0100007F:%04X 01" % (own.getsockname()[1], own.getpeername()[1])
    except OSError:
        # A reset has taken the address of the other side away.
        return False
    with open("/proc/net/tcp") as table:
        return any(ours in line for line in table)


def stalled(program, scale):
    """Readers that never read a large response, over HTTP/1, TLS and HTTP/2: memory is bounded, each connection is ended
    within half a minute, others are served."""
    sandbox = Sandbox(program)
    size = large_states(sandbox, 256)
    get = b"GET /__sandbox/api/state HTTP/1.1\r\nHost: localhost\r\n\r\n"
    usual, before = p99(sandbox.latencies()), sandbox.resident()
    count = max(6, int(60 * scale))

    def tcp():
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.settimeout(30)
        own.connect(("127.0.0.1", sandbox.port))
        return own

    def encrypted(protocol):
        tls = ssl.create_default_context(cafile=sandbox.facts["ca"])
        tls.set_alpn_protocols([protocol])
        return tls.wrap_socket(tcp(), server_hostname="localhost")

    def plain():
        own = tcp()
        own.sendall(get)
        return own

    def over_tls():
        own = encrypted("http/1.1")
        own.sendall(get)
        return own

    # :method GET, :scheme https, :path /__sandbox/api/state, :authority localhost as literals without indexing.
    path = b"/__sandbox/api/state"
    head = b"\x82\x87\x04" + bytes([len(path)]) + path + b"\x01\x09localhost"

    def windows(streams):
        own = encrypted("h2")
        # SETTINGS_INITIAL_WINDOW_SIZE 1: a byte of each stream may be sent, and no more.
        own.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 1)))
        for n in range(streams):
            own.sendall(frame(1, 5, 2 * n + 1, head))
        return own

    kinds = {"HTTP/1": plain, "TLS": over_tls, "HTTP/2": lambda: windows(1), "HTTP/2, 20 streams each": lambda: windows(20)}
    for name, start in kinds.items():
        number = max(2, count // 10) if "each" in name else count
        began, held, most = time.time(), [start() for _ in range(number)], 0
        loaded = p99(sandbox.latencies(100))

        def all_ended():
            nonlocal most
            most = max(most, sandbox.resident())
            return not any(is_open(own) for own in held)

        until(all_ended, f"{number} stalled readers over {name} are ended", 40 + number)
        took = time.time() - began
        for own in held:
            own.close()
        streams = 20 if "each" in name else 1
        print(f"stalled: {name}: {number} readers of {size / 1e6:.0f} MB, {(most - before) / 1024:.0f} MiB more at most, all ended "
              f"after {took:.0f} s; p99 {loaded * 1e6:.0f} µs, usually {usual * 1e6:.0f} µs")
        # A fixed part, and for each response the pieces that wait in its pipe and in the protocol.
        assert most - before < 64 * 1024 + number * streams * 2048, "memory is bounded"
        assert sandbox.pay()["retcode"] == 0
    sandbox.end()


def connects(program, scale):
    """Chains of CONNECT, pipelined in one connection or begun and not finished: one tunnel each, others are served."""
    sandbox, count = Sandbox(program), max(5, int(200 * scale))
    one = b"CONNECT pay.esicia.com:443 HTTP/1.1\r\nHost: pay.esicia.com:443\r\n\r\n"
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", sandbox.port), 20) as own:
            own.sendall(one * 2000)
            own.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := own.recv(65536):
                answer += piece
            assert answer.count(b"200 Connection Established") == 1 and b"HTTP/1.1 400 " in answer, answer
    held = []
    for _ in range(count):
        own = socket.create_connection(("127.0.0.1", sandbox.port), 20)
        own.sendall(one[:-2])
        held.append(own)
    assert sandbox.pay()["retcode"] == 0
    for own in held:
        while own.recv(4096):
            pass
    print(f"connects: {count} chains of 2000 got one tunnel each, {count} that were not finished were ended; others served")
    sandbox.end()


def waits(program, scale):
    """Thousands of callers wait for what does not happen: others pay as quickly, and what happens is told at once."""
    sandbox, count = Sandbox(program), max(200, int(5_000 * scale))
    usual = sandbox.latencies(1000)
    held = []
    for number in range(count):
        match = {"refid": f"NEVER-{number}"} if number % 10 else {"code": "608"}
        text = json.dumps({"for": "call", "match": match, "timeout": "5m"})
        own = socket.create_connection(("127.0.0.1", sandbox.port), 60)
        own.sendall((f"POST /__sandbox/api/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n{text}").encode())
        held.append(own)
    loaded = sandbox.latencies(1000)
    middle, more = usual[500], loaded[500]
    print(f"waits: {count} wait: pay takes {more * 1e6:.0f} µs (median), {middle * 1e6:.0f} µs without; "
          f"p99 {p99(loaded) * 1e6:.0f} µs, {p99(usual) * 1e6:.0f} µs without")
    assert more <= 1.5 * middle + 0.0005, (more, middle)
    # Every tenth waits for a code, and gets it.
    own, again = sandbox.connect(), sandbox.pay_bytes()
    own.sendall(again + again)
    read_answer(own), read_answer(own)
    for one in held[::10]:
        assert b"608" in read_answer(one)
    for one in held:
        one.close()
    sandbox.end()


def searches(program, scale):
    """Heavy verifications over a full journal: livez is answered meanwhile."""
    sandbox, count = Sandbox(program), max(500, int(3_000 * scale))
    own = sandbox.connect()
    for _ in range(count):
        sandbox.pay(own)
    expect = [{"for": "call", "match": {"refid": f"*{number}", "code": "0", "msisdn": "*1*"}, "count": {"min": 0}} for number in range(100)]
    over, rounds = threading.Event(), []

    def verify():
        while not over.is_set():
            sandbox.api("POST", "verify", {"expect": expect})
            sandbox.api("GET", "journal?limit=1000")
            rounds.append(1)

    threads = [threading.Thread(target=verify, daemon=True) for _ in range(4)]
    for one in threads:
        one.start()
    times = []
    for _ in range(100):
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", sandbox.port), 20) as asking:
            asking.sendall(b"GET /__sandbox/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while asking.recv(4096):
                pass
        times.append(time.perf_counter() - began)
    over.set()
    for one in threads:
        one.join(60)
    times.sort()
    print(f"searches: {len(rounds)} of 100 expectations over {count} payments: livez takes {times[50] * 1e3:.1f} ms (median), "
          f"{p99(times) * 1e3:.1f} ms (p99)")
    # A machine that is busy otherwise has outliers of its own.
    assert p99(times) <= 0.5, p99(times)
    sandbox.end()


def hanging(program, scale):
    """Postbacks that hang at a silent listener delay no others."""

    def lateness(others):
        sandbox, moments = Sandbox(program), []
        silent = listener(say_nothing)[0]

        def answer(own):
            try:
                while data := own.recv(65536):
                    moments.append((json.loads(data.split(b"\r\n\r\n", 1)[1])["refid"], time.time()))
                    own.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
            except (OSError, ValueError, IndexError):
                pass
            own.close()

        good = listener(answer)[0]
        own, paid = sandbox.connect(), {}
        for _ in range(others):
            sandbox.pay(own, returl=f"http://127.0.0.1:{silent}/", msisdn="0783300000")
        for _ in range(200):
            answered = sandbox.pay(own, returl=f"http://127.0.0.1:{good}/", msisdn="0783300000")
            paid[answered["refid"]] = time.time()
        until(lambda: len(moments) >= len(paid), "the postbacks arrive")
        late = sorted(at - paid[refid] - 1 for refid, at in moments)
        sandbox.process.kill()
        sandbox.process.wait()
        return late

    count = max(1_000, int(10_000 * scale))
    usual, loaded = lateness(0), lateness(count)
    print(f"hanging: {count} postbacks hang elsewhere: others are late by {p99(loaded) * 1e3:.1f} ms (p99), {p99(usual) * 1e3:.1f} ms without")
    assert p99(loaded) <= 2 * p99(usual) + 0.1, (p99(loaded), p99(usual))


def listeners(program, scale):
    """Postbacks to listeners that refuse, hang, answer without end, close early, redirect to themselves or have an expired
    certificate: each delivery is recorded, memory is bounded, others are not hurt."""
    folder = tempfile.TemporaryDirectory()
    key, cert = (os.path.join(folder.name, name) for name in ("key.pem", "cert.pem"))
    sandbox = Sandbox(program, "--postback-retries", "0", "--postback-timeout", "1s")
    expire(folder.name, sandbox.facts["ca"], key, cert)
    expired = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expired.load_cert_chain(cert, key)

    def endless(own):
        own.recv(65536)
        try:
            own.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
            for _ in range(16_384):
                own.sendall(bytes(65536))
        except OSError:
            pass
        own.close()

    def early(own):
        own.close()

    def circle(own):
        own.recv(65536)
        own.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        own.close()

    def out_of_date(own):
        try:
            expired.wrap_socket(own, server_side=True).close()
        except OSError:
            pass

    bad = {"refuses": "http://127.0.0.1:9/"}
    for name, answer in [("hangs", say_nothing), ("1 GB", endless), ("closes early", early), ("redirects", circle)]:
        bad[name] = f"http://127.0.0.1:{listener(answer)[0]}/"
    bad["expired certificate"] = f"https://localhost:{listener(out_of_date)[0]}/"
    usual, before = p99(sandbox.latencies()), sandbox.resident()
    # Hanging ones take a second each and 256 leave at once, so they are a small share of a large number.
    total, shares = int(1_000_000 * scale), {"hangs": 0.001, "1 GB": 0.001}
    rest = (1 - sum(shares.values())) / (len(bad) - len(shares))
    own, made, most = sandbox.connect(), 0, 0
    for name, returl in bad.items():
        count = max(10, int(total * shares.get(name, rest)))
        made += count
        while count > 0:
            batch = min(count, 64)
            own.sendall(b"".join(sandbox.pay_bytes(returl, "0783300000") for _ in range(batch)))
            for _ in range(batch):
                assert json.loads(read_one(own))["retcode"] == 0
            count -= batch
            most = max(most, sandbox.resident())

    def delivered():
        kinds = sandbox.api("GET", "coverage")["deliveries"]
        return sum(kind["met"] for kind in kinds if kind["kind"] != "repeated")

    until(lambda: delivered() >= made, f"{made} deliveries are recorded", 60 + total / 500)
    assert delivered() == made, (delivered(), made)
    failed = json.dumps(sandbox.api("GET", "deliveries?verdict=failed&limit=10"))
    assert "expired" in failed, failed
    loaded = p99(sandbox.latencies())
    print(f"listeners: {made} payments, all deliveries recorded; {(most - before) / 1024:.0f} MiB more at most; p99 {loaded * 1e6:.0f} µs after, {usual * 1e6:.0f} before")
    assert most - before < 128 * 1024 + made, "memory is bounded: a fixed part, and less than 1 KiB a payment"
    sandbox.end()


def expire(folder, ca, key, cert):
    """A certificate for localhost by the sandbox's own CA, whose time is over."""
    config, request = os.path.join(folder, "ca.cnf"), os.path.join(folder, "request.pem")
    with open(config, "w") as file:
        file.write(f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index\nnew_certs_dir={folder}\nrand_serial=yes\n"
                   "default_md=sha256\npolicy=any\nx509_extensions=names\n[any]\ncommonName=supplied\n"
                   "[names]\nsubjectAltName=DNS:localhost\n")
    open(os.path.join(folder, "index"), "w").close()
    run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True)
    run("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    run("ca", "-batch", "-config", config, "-cert", ca, "-keyfile", os.path.join(os.path.dirname(ca), "ca.key"), "-in", request,
        "-out", cert, "-notext", "-startdate", "20240101000000Z", "-enddate", "20240102000000Z")


PENDING = {}


def read_one(own):
    """One of several answers that come together."""
    data = PENDING.get(own, b"")
    while True:
        head, sep, body = data.partition(b"\r\n\r\n")
        if sep:
            length = next(int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length"))
            if len(body) >= length:
                PENDING[own] = body[length:]
                return body[:length]
        piece = own.recv(65536)
        assert piece, "the connection ended"
        data += piece


def descriptors(program, scale):
    """No file descriptors left: accepting pauses with one line in the log, and goes on when there are some again."""
    sandbox = Sandbox(program, limit=64)
    held = [socket.create_connection(("127.0.0.1", sandbox.port)) for _ in range(120)]
    until(lambda: sandbox.said("cannot accept a connection"), "the log says that no connection can be accepted")
    for own in held:
        own.close()
    assert sandbox.pay()["retcode"] == 0
    lines = open(sandbox.log).read().count("cannot accept a connection")
    print(f"descriptors: all taken and given back, {lines} line in the log, others served again")
    assert lines == 1
    sandbox.end()


class Told:
    """A listener that acknowledges every postback and remembers whose it was."""

    def __init__(self):
        self.tids = []
        self.port = listener(self.ok)[0]
        self.url = f"http://127.0.0.1:{self.port}/"

    def ok(self, own):
        body = json.loads(own.recv(65536).split(b"\r\n\r\n", 1)[1])
        self.tids.append(body["tid"])
        reply = json.dumps({"tid": body["tid"], "refid": body["refid"], "reply": "OK"}).encode()
        own.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
        own.close()

    def each_once(self, tids):
        until(lambda: len(self.tids) >= len(tids), f"{len(tids)} postbacks")
        # One that came twice would have come by now: repetitions leave with the others.
        time.sleep(1.5)
        assert sorted(self.tids) == sorted(tids), "each once"


def suspended(program, scale):
    """The program stands still for some seconds, as on a laptop that sleeps: no postback is lost or sent twice."""
    told, sandbox = Told(), Sandbox(program)
    tids = [sandbox.pay(returl=told.url, msisdn="0783300000")["tid"] for _ in range(100)]
    os.kill(sandbox.pid, signal.SIGSTOP)
    # All of them fall due while it stands still.
    time.sleep(3)
    os.kill(sandbox.pid, signal.SIGCONT)
    told.each_once(tids)
    sandbox.pay()
    print("suspended: 3 s in the middle of 100 payments, each postback came once")
    sandbox.end()


def clock(program, scale):
    """The host's clock is set back an hour and then two forward: no postback is lost, late or sent twice."""
    library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not library:
        sys.exit("libfaketime is missing (faketime on Debian): it sets the clock for one program only")
    with tempfile.NamedTemporaryFile("w") as offset:
        def set_clock(text):
            offset.seek(0)
            offset.truncate()
            offset.write(text)
            offset.flush()

        set_clock("+0s")
        # As on a real host, the monotonic clock goes on when the other is set.
        sandbox = Sandbox(program, env={
            "LD_PRELOAD": library[0], "FAKETIME_TIMESTAMP_FILE": offset.name, "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
        told, tids, began = Told(), [], time.time()
        for text in ["-1h", "+1h", "+0s"]:
            tids += [sandbox.pay(returl=told.url, msisdn="0783300000")["tid"] for _ in range(50)]
            set_clock(text)
            tids += [sandbox.pay(returl=told.url, msisdn="0783300000")["tid"] for _ in range(50)]
        told.each_once(tids)
        took = time.time() - began
        assert took < 20, f"{took} s"
        entries = sandbox.api("GET", "journal?limit=1000")["entries"]
        moments = sorted(datetime.fromisoformat(entry["at"].rstrip("Z")) for entry in entries)
        assert len(moments) >= 600, len(moments)
        assert (moments[-1] - moments[0]).total_seconds() < 30, "the sandbox's own time makes no jump"
    print(f"clock: set back an hour, two forward and back amid 300 payments, each postback came once, within {took:.1f} s")
    sandbox.end()


def ended(program, scale):
    """SIGTERM in the middle of a thousand deliveries: the log has each as sent or not."""
    port, came, _ = listener(say_nothing)
    sandbox = Sandbox(program)
    own = sandbox.connect()
    for _ in range(1000):
        sandbox.pay(own, returl=f"http://127.0.0.1:{port}/", msisdn="0783300000")
    until(lambda: came[0] >= 100, "deliveries are under way")
    sandbox.process.send_signal(signal.SIGTERM)
    assert sandbox.process.wait(20) == 0
    log = open(sandbox.log).read()
    stopped = log.count("the sandbox was stopped before the answer came")
    left = next((int(line.split()[2]) for line in log.splitlines() if line.startswith("ended with")), 0)
    print(f"ended: {stopped} deliveries recorded as not answered, {left} still to come, of 1000")
    assert stopped + left == 1000, (stopped, left)
    sandbox.folder.cleanup()


def disk(program, scale):
    """A full disk or a folder that cannot be written: a sentence and exit code 2."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"a file in its way": os.path.join(folder, "file", "certs"), "read-only": "/proc/kpay-sandbox/certs"}
        open(os.path.join(folder, "file"), "w").close()
        full = os.path.join(folder, "full")
        os.mkdir(full)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", full], capture_output=True).returncode == 0
        if mounted:
            places["full"] = os.path.join(full, "certs")
        try:
            for name, certs in places.items():
                run = subprocess.run([program, "--listen", "127.0.0.1:0", "--certs", certs], capture_output=True, text=True, timeout=20)
                print(f"disk: {name}: exit {run.returncode}: {run.stderr.strip()}")
                assert run.returncode == 2 and certs in run.stderr and len(run.stderr.strip().splitlines()) == 1, run
        finally:
            if mounted:
                subprocess.run(["umount", full], check=True)
        if not mounted:
            print("disk: full: left out, a file system can be mounted by root only")


def soak(program, scale, seconds, rate):
    """Mixed load for a long time; each second's users are forgotten a little later: resident memory stays flat."""
    def ok(own):
        try:
            while data := own.recv(65536):
                body = json.loads(data.split(b"\r\n\r\n", 1)[1])
                reply = json.dumps({"tid": body["tid"], "refid": body["refid"], "reply": "OK"}).encode()
                own.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
        except (OSError, ValueError, IndexError):
            pass
        own.close()

    port = listener(ok)[0]
    sandbox = Sandbox(program, "--open", "--quiet")
    began, done, samples, second, batches = time.time(), 0, [], 0, max(1, rate // 40)
    own = sandbox.connect()
    while time.time() - began < seconds:
        user, started = f"soak-{second}", time.time()
        for _ in range(batches):
            pays = [sandbox.pay_bytes(f"http://127.0.0.1:{port}/" if index % 10 == 0 else "http://127.0.0.1:9/cb",
                                      "0783300000" if index % 10 == 0 else "0780000003", user) for index in range(40)]
            own.sendall(b"".join(pays))
            tids = [json.loads(read_one(own))["tid"] for _ in pays]
            asked = tids[::10]
            own.sendall(b"".join(sandbox.status_bytes(tid, user) for tid in asked))
            assert [json.loads(read_one(own))["tid"] for _ in asked] == asked
        done += batches * 40
        sandbox.api("GET", f"transactions?merchant={user}&limit=20")
        sandbox.api("GET", "coverage")
        if second >= 10:
            sandbox.api("POST", "reset", {"merchant": f"soak-{second - 10}"})
            sandbox.api("DELETE", f"merchants/soak-{second - 10}")
        samples.append((time.time() - began, sandbox.resident()))
        second += 1
        # The pace is the load: so many payments a second.
        time.sleep(max(0, 1 - (time.time() - started)))
    # From the time on at which the journal is full.
    tail = samples[len(samples) // 4:]
    n = len(tail)
    mean_t, mean_m = sum(t for t, _ in tail) / n, sum(m for _, m in tail) / n
    slope = sum((t - mean_t) * (m - mean_m) for t, m in tail) / sum((t - mean_t) ** 2 for t, _ in tail)
    print(f"soak: {done} payments in {time.time() - began:.0f} s; resident {samples[0][1] / 1024:.0f} MiB at first, "
          f"{tail[0][1] / 1024:.1f} after a quarter, {tail[-1][1] / 1024:.1f} at the end; slope {slope * 3600 / 1024:+.2f} MiB an hour")
    sandbox.end()


ALL = {one.__name__: one for one in (idle, handshakes, h2, stalled, connects, waits, searches, hanging, listeners, descriptors, suspended, clock, ended, disk)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--short", action="store_true")
    arguments.add_argument("--program", default=os.path.join(HERE, "../../target/release/kpay-sandbox"))
    arguments.add_argument("--seconds", type=int, default=7200)
    arguments.add_argument("--rate", type=int, default=2000)
    arguments.add_argument("names", nargs="*", metavar="NAME")
    given = arguments.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    unknown = [name for name in given.names if name not in ALL and name != "soak"]
    if unknown:
        sys.exit(f"there is no {unknown[0]}: write some of {', '.join([*ALL, 'soak'])}")
    program, scale = os.path.abspath(given.program), 0.01 if given.short else 1
    if not os.access(program, os.X_OK):
        sys.exit(f"{program} is not there: build it with cargo build --release, or name another with --program")
    for name in given.names or ALL:
        if name == "soak":
            soak(program, scale, given.seconds, given.rate)
        else:
            ALL[name](program, scale)
    print("all held")


main()
