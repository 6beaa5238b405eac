"""A shop: PORT=3000 python3 shop.py. Orders are kept in memory, under a lock."""

import os
import threading

import requests
from flask import Flask, jsonify, request

KPAY = "https://pay.esicia.com/"
POSTBACK = "https://shop.example/kpay/postback"

app = Flask(__name__)
orders = {}
lock = threading.Lock()


def kpay(message):
    """Calls KPay; None when no answer came that could be read, which says nothing about the payment."""
    user = (os.environ["KPAY_USERNAME"], os.environ["KPAY_PASSWORD"])
    try:
        return requests.post(KPAY, json=message, auth=user, timeout=30).json()
    except requests.RequestException as error:
        app.logger.error("kpay: %s", error)
        return None


def confirm(order_id):
    """Asks KPay how an order stands, and settles it once: whatever else is told is only a reason to ask."""
    status = kpay({"action": "checkstatus", "refid": order_id})
    # 03 is pending; 611 after an answer that was lost is not final either.
    if status is None or status["statusid"] in ("03", "611"):
        return
    with lock:
        order = orders.get(order_id)
        if order and order["state"] == "pending":
            order["state"] = "paid" if status["statusid"] == "01" else "failed"
            order["credits"] += order["state"] == "paid"


@app.post("/orders")
def create():
    order_id = request.form["id"]
    orders[order_id] = {"state": "pending", "credits": 0}
    answer = kpay({
        "action": "pay", "msisdn": request.form["msisdn"], "email": "customer@example.rw",
        "details": f"Order {order_id}", "refid": order_id, "amount": request.form["amount"], "currency": "RWF",
        "cname": "Jane Customer", "cnumber": "1", "pmethod": "momo", "retailerid": "02", "returl": POSTBACK,
        "redirecturl": f"https://shop.example/orders/{order_id}", "bankid": "63510",
    })
    # 608 means that an earlier attempt arrived after all; no answer means that nobody knows. Both are for checkstatus.
    if answer is not None and answer["retcode"] not in (0, 608):
        orders[order_id]["state"] = "failed"
    return "ordered"


@app.post("/kpay/postback")
def postback():
    # force: get_json() alone would follow the label, and KPay has been seen to label JSON as a form.
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict) or "refid" not in body:
        return "not a postback", 400
    confirm(body["refid"])
    return jsonify(tid=body.get("tid", ""), refid=body["refid"], reply="OK")


@app.post("/orders/<order_id>/ask")
def ask(order_id):
    confirm(order_id)
    return "asked"


@app.get("/orders/<order_id>")
def show(order_id):
    order = orders.get(order_id)
    return f"{order['state']} {order['credits']}" if order else "unknown"


if __name__ == "__main__":
    app.run("127.0.0.1", int(os.environ["PORT"]))
