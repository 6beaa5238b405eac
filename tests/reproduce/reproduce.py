"""Every built-in scenario with Python's standard library: a tenant of its own whose scenario is set, driven by the control API."""
import base64, http.client, json, os, pathlib, ssl, urllib.error, urllib.request

URL, CA, CONTROL = (os.environ["KPAY_" + name] for name in ("URL", "CA", "CONTROL"))
TRUST = ssl.create_default_context(cafile=CA)
USER = "python-shop"


def api(method, path, body=None):
    request = urllib.request.Request(f"{CONTROL}/{path}", json.dumps(body or {}).encode(), method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def kpay(body, patience=10):
    token = base64.b64encode(f"{USER}:secret".encode()).decode()
    request = urllib.request.Request(URL + "/", json.dumps(body).encode(), {"Authorization": "Basic " + token})
    return urllib.request.urlopen(request, context=TRUST, timeout=patience)


def pay(refid, patience=10):
    body = {
        "msisdn": "0783300000", "email": "customer@example.rw", "details": "order", "refid": refid, "amount": 5000,
        "cname": "Jane Customer", "cnumber": "1", "pmethod": "momo", "retailerid": "02", "returl": os.environ["SHOP_URL"],
        "redirecturl": "https://shop.example/thanks", "bankid": "63510",
    }
    try:
        with kpay(body, patience) as answer:
            text = answer.read()
        return "empty" if not text else str(json.loads(text)["retcode"])
    except urllib.error.HTTPError as error:
        return str(error.code)
    except TimeoutError:
        return "timeout"
    except ConnectionResetError:
        return "reset"
    except http.client.IncompleteRead:
        return "cut"
    except ValueError:
        return "malformed"


def status(refid):
    with kpay({"action": "checkstatus", "refid": refid}) as answer:
        return json.load(answer)["statusid"]


def told(delivery):
    try:
        return json.loads(delivery["body"])["statusid"]
    except ValueError:
        return "unreadable"


for row in (pathlib.Path(__file__).parent / "expected.tsv").read_text().splitlines():
    scenario, _, answer, posted, statuses = row.split("\t")
    api("PUT", f"merchants/{USER}", {"password": "secret", "scenario": scenario})
    api("POST", "reset", {"merchant": USER})
    got = [pay(scenario, 1 if answer == "timeout" else 10)]
    if scenario == "reordered-postbacks":
        pay(scenario + "-2")
    elif scenario == "approve-at-third-try":
        for number in "23":
            api("POST", "clock/settle")
            pay(f"{scenario}-{number}")
    elif scenario == "await-payer":
        api("POST", f"transactions/{scenario}/settle?merchant={USER}", {"statusid": "01"})
    api("POST", "clock/settle")
    deliveries = api("GET", f"deliveries?merchant={USER}")["deliveries"]
    got.append(",".join(told(delivery) for delivery in reversed(deliveries)) or "-")
    first = [status(scenario), status(scenario)]
    api("POST", "clock/advance", {"by": "1m"})
    got.append(",".join([*first, status(scenario)]))
    assert got == [answer, posted, statuses], (scenario, got)
print("python: every scenario")
