//! The proxy on the same port: KPay's hosts end in the sandbox, others are tunnelled or refused.

use rustls::pki_types::ServerName;
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::core::good_pay;
use crate::harness::{Running, exchange, json_of, post, read_to_end, status};

/// Asks for a tunnel; the connection, and the proxy's answer.
async fn tunnel(running: &Running, request: &str) -> (TcpStream, String) {
    let mut stream = running.connect_plain().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") && stream.read_buf(&mut answer).await.unwrap() > 0 {}
    (stream, String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn kpays_hosts_end_in_the_sandbox_with_its_certificate() {
    let running = Running::with(|config| config.offline = true).await;
    for host in ["pay.esicia.com", "pay.esicia.rw", "PAY.esicia.com", "pay.esicia.com.", "Pay.Esicia.RW."] {
        let (stream, answer) =
            tunnel(&running, &format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::clone(&running.tls)).connect(name, stream).await.expect("it is trusted");
        let mut body = good_pay();
        body["refid"] = json!(host);
        let answer = exchange(stream, post("/", &body.to_string(), "").as_bytes()).await;
        assert_eq!(json_of(&answer)["retcode"], 0, "{answer}");
    }
    // Plain HTTP, in a tunnel or by the proxy's own form, is KPay's 500.
    let (stream, _) = tunnel(&running, "CONNECT pay.esicia.com:80 HTTP/1.1\r\n\r\n").await;
    assert_eq!(json_of(&exchange(stream, post("/", "{}", "").as_bytes()).await)["retcode"], 500);
    for host in ["pay.esicia.com", "PAY.esicia.rw", "pay.esicia.com.", "pay.esicia.com:8080"] {
        let absolute = running.raw_plain(&post(&format!("http://{host}/"), "{}", "")).await;
        assert_eq!(json_of(&absolute)["retcode"], 500, "{host}");
    }
}

/// Serves one connection with a canned response. The task returns the request, as it came until there is `end`.
fn answering(listener: TcpListener, end: &'static str, response: &'static str) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(end.as_bytes()) && stream.read_buf(&mut request).await.unwrap() > 0 {}
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    })
}

async fn elsewhere() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn plain_http_for_other_hosts_is_forwarded_without_what_is_the_connections_own() {
    let running = Running::start().await;
    let (listener, port) = elsewhere().await;
    let response =
        "HTTP/1.1 201 Created\r\nX-Shop: yes\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nhello";
    let request = answering(listener, "{\"a\":1}", response);
    // `localhost` is a name of the sandbox too: the port tells.
    let headers = "Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nConnection: close, x-mine\r\nX-Mine: 1\r\nX-Kept: 2\r\n";
    let answer = running.raw_plain(&post(&format!("http://localhost:{port}/orders?id=1"), "{\"a\":1}", headers)).await;
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(
        answer.contains("X-Shop: yes") && !answer.contains("X-Hop") && !answer.contains("X-Kpay-Sandbox"),
        "{answer}"
    );
    let request = request.await.unwrap();
    assert!(request.starts_with("POST /orders?id=1 HTTP/1.1\r\n"), "{request}");
    let request = request.to_ascii_lowercase();
    assert!(request.contains(&format!("host: localhost:{port}\r\n")) && request.contains("x-kept: 2"), "{request}");
    for gone in ["proxy-", "x-mine", "close"] {
        assert!(!request.contains(gone), "{gone}: {request}");
    }
    assert!(running.sandbox.read(|gateway| gateway.journal().after(0).next().is_none()), "it is nobody's call");
}

#[tokio::test]
async fn bodies_are_forwarded_as_they_come() {
    let running = Running::start().await;
    let (listener, port) = elsewhere().await;
    let mut client = running.connect_plain().await;
    let head = format!(
        "POST http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let (mut there, _) = listener.accept().await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"one\r\n") && there.read_buf(&mut seen).await.unwrap() > 0 {}
    // The rest of each body leaves only after the other side has had the beginning.
    there.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"two\r\n") && client.read_buf(&mut answer).await.unwrap() > 0 {}
    client.write_all(b"5\r\nthree\r\n0\r\n\r\n").await.unwrap();
    while !seen.ends_with(b"0\r\n\r\n") && there.read_buf(&mut seen).await.unwrap() > 0 {}
    there.write_all(b"4\r\nfour\r\n0\r\n\r\n").await.unwrap();
    while !answer.ends_with(b"0\r\n\r\n") && client.read_buf(&mut answer).await.unwrap() > 0 {}
    let text = String::from_utf8(seen).unwrap();
    assert!(text.contains("three"), "{text}");
}

#[tokio::test]
async fn plain_http_for_other_hosts_is_refused_offline_and_where_nobody_listens() {
    let running = Running::with(|config| config.offline = true).await;
    let offline = running.raw_plain(&post("http://shop.example/", "{}", "")).await;
    assert!(status(&offline) == 403 && offline.contains("--offline"), "{offline}");
    assert!(last_line(&running).contains("shop.example:80"), "{}", last_line(&running));
    let running = Running::start().await;
    let nobody = running.raw_plain(&post("http://127.0.0.1:1/", "{}", "")).await;
    assert!(status(&nobody) == 502 && nobody.contains("127.0.0.1:1: "), "{nobody}");
    let secure = running.raw_plain(&post("https://shop.example/", "{}", "")).await;
    assert!(status(&secure) == 502 && secure.contains("CONNECT"), "{secure}");
    // A host that breaks off is no sandbox that breaks off.
    let (listener, port) = elsewhere().await;
    answering(listener, "{}", "nonsense\r\n\r\n");
    let broken = running.raw_plain(&post(&format!("http://127.0.0.1:{port}/"), "{}", "")).await;
    assert!(status(&broken) == 502, "{broken}");
    // Its own address is the sandbox itself.
    let own = running
        .raw_plain(&format!(
            "GET http://localhost:{}/__sandbox/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            running.port()
        ))
        .await;
    assert!(own.ends_with("ok\n"), "{own}");
}

#[tokio::test]
async fn other_hosts_are_tunnelled_untouched_or_refused_offline() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = elsewhere.accept().await.unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.unwrap();
        stream.write_all(&bytes.map(|byte| byte.wrapping_add(1))).await.unwrap();
    });
    let request = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n");
    let running = Running::start().await;
    let (mut stream, answer) = tunnel(&running, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stream.write_all(b"\x16abc\x00").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "\x17bcd\x01");

    let offline = Running::with(|config| config.offline = true).await;
    let refused = offline.raw_plain(&request).await;
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("--offline"), "{refused}");
    let closed = running.raw_plain("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n").await;
    assert!(closed.starts_with("HTTP/1.1 502 ") && closed.contains("127.0.0.1:1: "), "{closed}");
    for wrong in ["CONNECT shop.example HTTP/1.1\r\n\r\n", "COPY / HTTP/1.1\r\n\r\n"] {
        let answer = running.raw_plain(wrong).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("CONNECT host:port"), "{answer}");
    }
    let told = offline.sandbox.read(|gateway| format!("{:?}", gateway.journal().after(0).last().unwrap().event));
    assert!(told.contains("--offline lets nobody go elsewhere"), "{told}");
}

const CONNECT: &str = "CONNECT pay.esicia.com:443 HTTP/1.1\r\nHost: pay.esicia.com:443\r\n\r\n";

fn last_line(running: &Running) -> String {
    running.sandbox.read(|gateway| format!("{:?}", gateway.journal().after(0).last().unwrap().event))
}

#[tokio::test]
async fn a_chain_of_connects_gets_one_tunnel_and_a_refusal() {
    let running = Running::start().await;
    let answer = running.raw_plain(&CONNECT.repeat(500)).await;
    assert_eq!(answer.matches("200 Connection Established").count(), 1, "{answer}");
    let (_, second) = answer.split_once("\r\n\r\n").unwrap();
    assert!(second.starts_with("HTTP/1.1 400 ") && second.contains("one CONNECT"), "{second}");
    assert!(last_line(&running).contains("one CONNECT"), "{}", last_line(&running));
    assert_eq!(running.pay(|_| {}).await["retcode"], 0);
}

#[tokio::test]
async fn a_connect_that_is_not_the_first_request_is_405() {
    let running = Running::start().await;
    let inside = running.raw(CONNECT).await;
    let get = "GET /__sandbox/livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let after = running.raw_plain(&format!("{get}{CONNECT}{get}")).await;
    let (first, after) = after.split_once("ok\n").unwrap();
    assert_eq!(status(first), 200);
    for answer in [&*inside, after] {
        assert_eq!(status(answer), 405, "{answer}");
        assert!(answer.contains("CONNECT") && answer.contains("Allow: "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "the connection ends with it: {answer}");
    }
    assert!(last_line(&running).contains("CONNECT"), "{}", last_line(&running));
}

#[tokio::test]
async fn the_head_of_a_connect_has_the_limit_that_is_told() {
    let running = Running::start().await;
    let head = |length: usize| {
        let start = "CONNECT pay.esicia.com:443 HTTP/1.1\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
    };
    let (_, most) = tunnel(&running, &head(16 * 1024)).await;
    assert!(most.starts_with("HTTP/1.1 200 "), "{most}");
    for beyond in [head(16 * 1024 + 1), format!("CONNECT {}", "x".repeat(40_000))] {
        let answer = running.raw_plain(&beyond).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("16384 bytes"), "{answer}");
    }
}
