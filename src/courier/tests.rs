//! The courier against listeners of its own.

use std::net::SocketAddr;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

mod failures;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn self_signed() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    (cert.into(), key)
}

fn settings() -> CourierSettings {
    CourierSettings {
        own_ca: self_signed().0,
        extra_roots: Vec::new(),
        insecure: false,
        time_limit: Duration::from_secs(10),
        redirections: Vec::new(),
        host: PostbackHost::Original,
        postbacks: Postbacks::Local,
        offline: false,
        own_addresses: Vec::new(),
        around: None,
    }
}

fn to(target: &str) -> Postback {
    Postback {
        number: 1,
        generation: 0,
        merchant: "shop".into(),
        lane: "E1".into(),
        again: None,
        method: "POST".into(),
        tid: "E1".into(),
        refid: "R1".into(),
        attempt: 1,
        target: target.into(),
        content_type: "application/json".into(),
        body: r#"{"a":"é"}"#.as_bytes().into(),
    }
}

async fn delivered(target: &str) -> Delivery {
    Courier::new(settings()).deliver(to(target)).await
}

fn goes_to(target: &str, rules: &[&str]) -> Result<String, String> {
    let rules: Vec<Redirection> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    address::target(target, &rules).map(|target| target.uri.to_string())
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads one request, answers it, and hands the request back.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {}
    // The courier hangs up on an answer that is too long, which is no failure of the listener.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    String::from_utf8(request).unwrap()
}

async fn answering(text: String) -> (SocketAddr, JoinHandle<String>) {
    let (listener, address) = listener().await;
    let task = async move { answer(listener.accept().await.unwrap().0, &text).await };
    (address, tokio::spawn(task))
}

#[test]
fn a_target_without_a_scheme_is_http() {
    for (target, url) in [
        ("shop.test/cb", "http://shop.test/cb"),
        ("localhost:3000/x?y=1", "http://localhost:3000/x?y=1"),
        ("localhost:3000", "http://localhost:3000/"),
        ("[::1]:3000/x", "http://[::1]:3000/x"),
        ("shop.test/cb?next=http://a.test/", "http://shop.test/cb?next=http://a.test/"),
        ("shop.test?x=1", "http://shop.test/?x=1"),
        (" HTTPS://Shop.Test:443/Cb#top ", "https://shop.test/Cb"),
    ] {
        assert_eq!(goes_to(target, &[]).as_deref(), Ok(url), "{target}");
    }
}

#[tokio::test]
async fn targets_that_cannot_be_posted_to_are_refused_in_a_sentence() {
    let long = format!("http://{}", "é".repeat(10_000));
    let mut odd: Vec<&str> = "| |/|//shop.test/|?x|#|:|://|http:|http://|http:///x|http://:80/|http://a b/|\
        http://a/b c|shop.test/a\r\nX: y|a\0b|ftp://a/|javascript:alert(1)|javascript://a|mailto:a|\
        http://u:p@/|@/|http://a:0/|http://a:/|http://a:99999/|http://[::1|]|💥:1"
        .split('|')
        .collect();
    odd.push(&long);
    for target in odd {
        let delivery = delivered(target).await;
        let Err(Failure::BadTarget(why)) = delivery.outcome else { panic!("{target:?}: {:?}", delivery.outcome) };
        assert!(
            delivery.url.is_empty() && why.starts_with('\'') && why.len() < 1000 && !why.contains(char::is_control),
            "{why}"
        );
    }
}

#[test]
fn a_very_long_or_unicode_path_panics_nowhere() {
    for path in ["a".repeat(10_000), "é💥".repeat(2_000), "%zz".repeat(3_000), "?".repeat(70_000)] {
        let _ = goes_to(&format!("shop.test/{path}"), &[]);
    }
}

#[test]
fn a_redirection_changes_the_origin_and_keeps_path_and_query() {
    let rules = ["https://Shop.example/=http://localhost:3000", "http://b.test:80=https://c.test:443"];
    for (target, url) in [
        ("https://shop.example/a/b?c=d%20e", "http://localhost:3000/a/b?c=d%20e"),
        ("https://SHOP.example:443", "http://localhost:3000/"),
        ("b.test/x", "https://c.test/x"),
        ("http://shop.example/x", "http://shop.example/x"),
        ("https://shop.example:444/x", "https://shop.example:444/x"),
    ] {
        assert_eq!(goes_to(target, &rules).as_deref(), Ok(url), "{target}");
    }
}

#[test]
fn a_wrong_redirection_says_what_to_write() {
    let odd = "|x|=|a=b|http://a=|http://a/p=http://b|http://a=http://b/p|http://a=http://b?q|\
        ftp://a=http://b|http://a:0=http://b|http://u@a=http://b|http://a=http://b#f|http://a=b:3000";
    for text in odd.split('|') {
        let why = text.parse::<Redirection>().unwrap_err();
        assert!(why.contains("write FROM=TO, such as"), "{why}");
    }
}

#[tokio::test]
async fn the_headers_are_these_and_the_record_holds_the_same() {
    let (address, request) = answering(OK.into()).await;
    let delivery = delivered(&format!("{address}/cb?x=1#top")).await;
    let host = address.to_string();
    let head = format!("POST /cb?x=1 HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n");
    let rest = "Content-Type: application/json\r\nContent-Length: 10\r\nX-Kpay-Sandbox: postback\r\n\r\n{\"a\":\"é\"}";
    assert_eq!(request.await.unwrap(), head + rest);
    assert_eq!(delivery.url, format!("http://{host}/cb?x=1"));
    let recorded: Vec<_> = delivery.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let json = ("content-type", "application/json");
    let rest = [("content-length", "10"), ("x-kpay-sandbox", "postback")];
    assert_eq!(recorded, [[("host", &*host), ("accept", "*/*"), json].as_slice(), &rest].concat());
    let answer = delivery.outcome.unwrap();
    assert_eq!((answer.status, &*answer.body, answer.cut), (200, &b"ok"[..], false));
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let text = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let (address, _request) = answering(text.into()).await;
    let answer = delivered(&address.to_string()).await.outcome;
    assert_eq!(answer.unwrap().status, 302);
}

#[tokio::test]
async fn an_answer_is_cut_only_beyond_the_limit() {
    for (size, cut) in [(Answer::LIMIT, false), (Answer::LIMIT + 1, true), (1 << 20, true)] {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
        let (address, _request) = answering(text).await;
        let answer = delivered(&address.to_string()).await.outcome.unwrap();
        assert_eq!((answer.body.len(), answer.cut), (Answer::LIMIT, cut), "{size}");
    }
}

#[tokio::test]
async fn a_listener_that_never_answers_or_never_ends_times_out() {
    let limit = Duration::from_millis(200);
    let courier = Courier::new(CourierSettings { time_limit: limit, ..settings() });
    let (_silent, address) = listener().await;
    let delivery = courier.deliver(to(&address.to_string())).await;
    assert_eq!(delivery.outcome, Err(Failure::TimedOut(limit)));
    let (half, address) = listener().await;
    let held = tokio::spawn(async move {
        let mut stream = half.accept().await.unwrap().0;
        // An answer ahead of the request would be no HTTP.
        let _ = stream.read(&mut [0; 2048]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha").await.unwrap();
        stream
    });
    let delivery = courier.deliver(to(&address.to_string())).await;
    assert_eq!(delivery.outcome, Err(Failure::TimedOut(limit)));
    drop(held);
}

#[test]
fn a_file_of_roots_is_read_and_a_wrong_one_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    assert!(read_roots(&file).unwrap_err().contains("roots.pem: cannot be read"));
    let names = vec!["a.test".to_owned()];
    let pem = generate_simple_self_signed(names).unwrap().cert.pem();
    let fake = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    for (text, count) in [(pem.repeat(2), Some(2)), (String::new(), None), ("x".into(), None), (fake, None)] {
        std::fs::write(&file, &text).unwrap();
        let roots = read_roots(&file);
        assert_eq!(roots.as_ref().ok().map(Vec::len), count, "{roots:?}");
        assert!(roots.err().is_none_or(|why| why.contains("roots.pem: ")));
    }
}

#[tokio::test]
async fn in_a_container_localhost_is_also_the_machine_around_it() {
    // Two addresses of the loopback stand for the container and the machine around it.
    let around = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = around.local_addr().unwrap().port();
    let server = tokio::spawn(async move { answer(around.accept().await.unwrap().0, OK).await });
    let courier = Courier::new(CourierSettings { around: Some("127.0.0.2"), ..settings() });
    let delivery = courier.deliver(to(&format!("http://localhost:{port}/kpay?a=1"))).await;
    assert_eq!((delivery.outcome.unwrap().status, delivery.url), (200, format!("http://127.0.0.2:{port}/kpay?a=1")));
    assert!(server.await.unwrap().contains(&format!("Host: localhost:{port}\r\n")));
    let delivery = courier.deliver(to("http://127.0.0.1:1/")).await;
    let why = delivery.outcome.unwrap_err().to_string();
    assert!(why.contains("nor outside the container") && delivery.url == "http://127.0.0.1:1/", "{why}");
    let courier = Courier::new(CourierSettings { around: Some("no-such-host.invalid"), ..settings() });
    let why = courier.deliver(to("http://127.0.0.1:1/")).await.outcome.unwrap_err().to_string();
    assert!(why.ends_with("is your listener running?") && !why.contains("container"), "{why}");
    assert_eq!(address::around(&"http://shop.example/".parse().unwrap(), "x"), None);
}

#[test]
fn characters_that_phps_curl_sends_as_they_are_arrive_encoded() {
    for (target, url) in [
        (r#"a.test/a"b?c='d'&e="f""#, "http://a.test/a%22b?c='d'&e=%22f%22"),
        ("a.test/<b>|`c`^{d}?{e}", "http://a.test/%3Cb%3E%7C%60c%60%5E%7Bd%7D?%7Be%7D"),
        ("a.test/é%20[x]?y[z]=1", "http://a.test/%C3%A9%20[x]?y[z]=1"),
    ] {
        assert_eq!(goes_to(target, &[]).as_deref(), Ok(url), "{target}");
    }
}

#[tokio::test]
async fn a_user_and_a_password_in_a_returl_become_basic_authentication_and_are_not_recorded() {
    for (userinfo, credentials) in [("shop:s%40cret", "c2hvcDpzQGNyZXQ="), ("shop", "c2hvcDo="), ("a:b@c", "YTpiQGM=")]
    {
        let (address, request) = answering(OK.into()).await;
        let delivery = delivered(&format!("{userinfo}@{address}/cb")).await;
        let request = request.await.unwrap();
        assert!(request.contains(&format!("\r\nAuthorization: Basic {credentials}\r\n")), "{request}");
        assert_eq!(delivery.url, format!("http://{address}/cb"));
        assert!(delivery.headers.contains(&("authorization".into(), "****".into())), "{:?}", delivery.headers);
    }
    let (address, request) = answering(OK.into()).await;
    delivered(&format!("http://@{address}/")).await;
    assert!(!request.await.unwrap().contains("Authorization"));
}

#[tokio::test]
async fn a_redirected_postback_keeps_its_host_and_says_how_the_application_was_called() {
    for (host, expected) in [(PostbackHost::Original, true), (PostbackHost::Local, false)] {
        let (address, request) = answering(OK.into()).await;
        let redirections = vec![format!("https://shop.example:444=http://{address}").parse().unwrap()];
        let courier = Courier::new(CourierSettings { redirections, host, ..settings() });
        let delivery = courier.deliver(to("https://shop.example:444/cb")).await;
        assert!(delivery.outcome.is_ok() && delivery.url == format!("http://{address}/cb"), "{delivery:?}");
        let request = request.await.unwrap();
        let original = "Host: shop.example:444\r\n";
        let forwarded = "X-Forwarded-Host: shop.example:444\r\nX-Forwarded-Proto: https\r\n";
        assert_eq!((request.contains(original), request.contains(forwarded)), (expected, expected), "{request}");
        assert_eq!(request.contains(&format!("\r\nHost: {address}\r\n")), !expected, "{request}");
        assert!(expected || !request.contains("X-Forwarded"), "{request}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_public_address_unless_it_is_named_on_purpose() {
    // A refusal comes at once; a connection to an address for documentation would take its time.
    let limit = Duration::from_millis(300);
    let own = |settings: CourierSettings| Courier::new(CourierSettings { time_limit: limit, ..settings });
    let rule = "http://b.test=http://192.0.2.1".parse::<Redirection>().unwrap();
    let named = CourierSettings { redirections: vec![rule], ..settings() };
    let anywhere = CourierSettings { postbacks: Postbacks::Anywhere, ..settings() };
    let offline = CourierSettings { offline: true, ..settings() };
    let flags = ["--postback-to http://192.0.2.1=http://localhost:3000", "or --postbacks anywhere"];
    for (settings, target, words) in [
        (settings(), "http://192.0.2.1/", flags.to_vec()),
        (settings(), "https://192.0.2.1/", vec!["https://192.0.2.1 leads to 192.0.2.1"]),
        (settings(), "http://[::ffff:192.0.2.1]/", vec!["--postbacks anywhere"]),
        // A name for the system's resolver, which reads it as an address.
        (settings(), "http://3221225985/", vec!["leads to 192.0.2.1"]),
        (settings(), "http://a:b@192.0.2.1/", vec!["--postbacks anywhere"]),
        (CourierSettings { postbacks: Postbacks::Anywhere, ..offline }, "http://192.0.2.1/", vec!["--offline"]),
        (CourierSettings { offline: true, ..named.clone() }, "http://b.test/", vec!["http://192.0.2.1", "--offline"]),
        (anywhere.clone(), "http://PAY.esicia.com./", vec!["KPay's own", "--postback-to http://pay.esicia.com.="]),
    ] {
        let outcome = own(settings).deliver(to(target)).await.outcome;
        let Err(Failure::NotPermitted(why)) = &outcome else { panic!("{target}: {outcome:?}") };
        assert!(words.iter().all(|word| why.contains(word)), "{target}: {why}");
    }
    for (settings, target) in [(named, "http://b.test/"), (anywhere, "http://192.0.2.1/")] {
        let outcome = own(settings).deliver(to(target)).await.outcome;
        assert!(matches!(outcome, Err(Failure::TimedOut(_) | Failure::Unreachable(_))), "{target}: {outcome:?}");
    }
    let why = "http://a.test=https://Pay.esicia.rw".parse::<Redirection>().unwrap_err();
    assert!(why.contains("is KPay's"), "{why}");
}

#[tokio::test]
async fn every_name_under_localhost_is_this_machine() {
    for name in ["shop.localhost", "a.b.LOCALHOST"] {
        let (address, request) = answering(OK.into()).await;
        let target = format!("http://{name}:{}/", address.port());
        assert_eq!(delivered(&target).await.outcome.map(|answer| answer.status), Ok(200), "{target}");
        assert!(request.await.unwrap().contains(&format!("Host: {}:", name.to_lowercase())));
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_postback() {
    let (listener, address) = listener().await;
    let courier = Courier::new(settings());
    let listening = async {
        let (mut stream, mut request) = (listener.accept().await.unwrap().0, Vec::new());
        while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {}
        stream.write_all(OK.as_bytes()).await.unwrap();
        // An end, while the courier lives on.
        tokio::time::timeout(Duration::from_secs(4), stream.read(&mut [0; 16])).await.expect("it is closed").unwrap()
    };
    let (delivery, read) = tokio::join!(courier.deliver(to(&address.to_string())), listening);
    assert_eq!((delivery.outcome.map(|answer| answer.status), read), (Ok(200), 0));
}
