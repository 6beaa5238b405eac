"""Asks for a payment with one of Python's clients: python3 client.py NAME."""

import asyncio
import base64
import ssl
import sys

URL = "https://pay.esicia.com/"
BODY = b'{"action":"checkstatus","refid":"none"}'
USER = ("your_username", "your_password")
HEADERS = {"Authorization": "Basic " + base64.b64encode(":".join(USER).encode()).decode()}


def urllib():
    from urllib.request import Request, urlopen

    return urlopen(Request(URL, BODY, HEADERS), timeout=10).read().decode()


def http_client():
    import http.client

    connection = http.client.HTTPSConnection("pay.esicia.com", timeout=10)
    connection.request("POST", "/", BODY, HEADERS)
    return connection.getresponse().read().decode()


def requests():
    import requests

    return requests.post(URL, BODY, auth=USER, timeout=10).text


def httpx():
    import httpx

    return httpx.post(URL, content=BODY, auth=USER, timeout=10).text


def urllib3():
    import urllib3

    return urllib3.PoolManager(timeout=10, retries=False).request("POST", URL, body=BODY, headers=HEADERS).data.decode()


def aiohttp():
    import aiohttp

    async def ask():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
            async with session.post(URL, data=BODY, headers=HEADERS, ssl=ssl.create_default_context()) as answer:
                return await answer.text()

    return asyncio.run(ask())


try:
    print(globals()[sys.argv[1]]())
except Exception as error:
    print(f"failed: {error!r}")
