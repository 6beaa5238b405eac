//! What a failure says.

use super::*;

#[tokio::test]
async fn a_refused_port_is_unreachable_and_names_the_listener() {
    let (closed, address) = listener().await;
    drop(closed);
    let why = format!("connection refused by http://{address}: is your listener running?");
    assert_eq!(delivered(&address.to_string()).await.outcome, Err(Failure::Unreachable(why)));
}

#[tokio::test]
async fn a_name_that_is_not_found_is_told_the_redirection_that_helps() {
    for origin in ["https://no-such-host.invalid", "http://no-such-host.invalid:8080"] {
        let Err(Failure::Unreachable(why)) = delivered(&format!("{origin}/hook?x=1")).await.outcome else { panic!() };
        assert!(why.contains("the name no-such-host.invalid is not found"), "{why}");
        assert!(why.ends_with(&format!("--postback-to {origin}=http://localhost:3000")), "{why}");
    }
}

#[tokio::test]
async fn the_wrong_scheme_is_told() {
    let (silent, address) = listener().await;
    let _hanging_up = tokio::spawn(async move { drop(silent.accept().await) });
    let Err(Failure::Tls(why)) = delivered(&format!("https://{address}/")).await.outcome else { panic!() };
    assert!(why.contains("If it speaks plain HTTP, write http:// in returl"), "{why}");
    // A TLS alert is what such a listener says to plain HTTP.
    let (secure, address) = listener().await;
    let _serving = tokio::spawn(async move {
        let (mut stream, _) = secure.accept().await.unwrap();
        let _ = stream.read(&mut [0; 2048]).await;
        stream.write_all(b"\x15\x03\x03\x00\x02\x02\x32").await
    });
    let outcome = delivered(&format!("http://{address}/")).await.outcome;
    let Err(Failure::Broken(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("If it speaks TLS, write https:// in returl"), "{why}");
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_broken() {
    for text in ["", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nha"] {
        let (address, _request) = answering(text.into()).await;
        let outcome = delivered(&address.to_string()).await.outcome;
        assert!(matches!(outcome, Err(Failure::Broken(_))), "{text:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_self_signed_listener_is_refused_unless_trusted_or_insecure() {
    let ((cert, key), (listener, address)) = (self_signed(), listener().await);
    let acceptor = tls::acceptor(vec![cert.clone()], vec![cert.clone()], &key).unwrap();
    let _serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, OK).await;
            }
        }
    });
    let url = format!("https://{address}/");
    let Err(Failure::Tls(why)) = delivered(&url).await.outcome else { panic!("it is trusted") };
    assert!(why.contains("--postback-ca") && why.contains("--postback-insecure"), "{why}");
    let trusting = CourierSettings { extra_roots: vec![cert], ..settings() };
    for settings in [trusting, CourierSettings { insecure: true, ..settings() }] {
        let delivery = Courier::new(settings).deliver(to(&url)).await;
        assert_eq!(delivery.outcome.map(|answer| answer.status), Ok(200));
    }
}

#[tokio::test]
async fn https_to_a_plain_listener_says_that_it_speaks_no_tls() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let _ = stream.read(&mut [0; 2048]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let Err(Failure::Tls(why)) = delivered(&format!("https://{address}/")).await.outcome else { panic!("not TLS") };
    assert!(why.contains("Write http:// in returl"), "{why}");
}
