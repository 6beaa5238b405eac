//! HTTP/2: what it is good for, and what it is abused for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio_rustls::TlsConnector;

use crate::core::good_pay;
use crate::harness::{Running, authorization, read_to_end, trusting};

type Body = Full<bytes::Bytes>;

async fn connect(running: &Running) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let mut config = trusting(&running.sandbox);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, running.connect_plain().await).await.unwrap()
}

async fn client(running: &Running) -> SendRequest<Body> {
    let stream = TokioIo::new(connect(running).await);
    let (client, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(body: &Value) -> Request<Body> {
    let authorization = authorization();
    let (_, value) = authorization.trim().split_once(": ").unwrap();
    Request::post("https://pay.esicia.com/").header("Authorization", value).body(body.to_string().into()).unwrap()
}

#[tokio::test]
async fn a_payment_over_h2_announces_the_sandboxs_own_address() {
    let running = Running::start().await;
    let mut client = client(&running).await;
    let answer = client.send_request(request(&good_pay())).await.unwrap();
    assert!(answer.headers().contains_key("x-kpay-sandbox"));
    let body: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let page = format!("http://127.0.0.1:{}/checkout/", running.port());
    assert!(body["url"].as_str().unwrap().starts_with(&page), "{body}");
}

#[tokio::test]
async fn a_host_that_is_not_the_authority_and_a_connect_are_refused() {
    let running = Running::start().await;
    let mut client = client(&running).await;
    let mut other = request(&good_pay());
    other.headers_mut().insert("host", "shop.example".parse().unwrap());
    let answer = client.send_request(other).await.unwrap();
    assert_eq!(answer.status(), 400);
    let why = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&why).contains(":authority"), "{why:?}");
    let connect = Request::connect("pay.esicia.com:443").body(Body::default()).unwrap();
    assert_eq!(client.send_request(connect).await.unwrap().status(), 405);
    assert_eq!(client.send_request(request(&good_pay())).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_also_when_the_client_asks_first() {
    let running = Running::start().await;
    let mut client = client(&running).await;
    for expecting in [false, true] {
        let mut large = request(&" ".repeat(100_000).into());
        if expecting {
            large.headers_mut().insert("expect", "100-continue".parse().unwrap());
        }
        assert_eq!(client.send_request(large).await.unwrap().status(), 413);
    }
}

#[tokio::test]
async fn a_thousand_streams_reset_at_once_hurt_nobody_else() {
    let running = Running::start().await;
    let mut hostile = client(&running).await;
    for number in 0..1000 {
        if hostile.ready().await.is_err() {
            break; // the server has had enough, which is an answer too
        }
        let mut body = good_pay();
        body["refid"] = number.into();
        // Sent and dropped without waiting for the answer: a reset.
        drop(hostile.send_request(request(&body)));
        tokio::task::yield_now().await;
    }
    assert_eq!(running.pay(|_| {}).await["retcode"], 0);
}

#[tokio::test]
async fn an_h2_client_that_says_nothing_is_cut_off() {
    let running = Running::start().await;
    let mut silent = connect(&running).await;
    read_to_end(&mut silent).await;
    assert_eq!(running.pay(|_| {}).await["retcode"], 0);
}

#[tokio::test]
async fn a_response_whose_window_stays_closed_ends_its_connection() {
    let running = Running::start().await;
    let stream = TokioIo::new(connect(&running).await);
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut client, connection) = builder.initial_stream_window_size(10).handshake::<_, Body>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let began = std::time::Instant::now();
    let answer = client.send_request(request(&good_pay())).await.unwrap();
    assert_eq!(answer.status(), 200);
    // The body is never read, but another response on the same connection is.
    let head = Request::head("https://localhost/__sandbox/livez").body(Body::default()).unwrap();
    assert_eq!(client.send_request(head).await.unwrap().status(), 200);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(25), connection).await.expect("the server ends it");
    assert!(began.elapsed() > std::time::Duration::from_secs(9), "it had its time: {:?}", began.elapsed());
    drop(answer);
    assert_eq!(running.pay(|_| {}).await["retcode"], 608, "the payment was accepted");
}

/// A body of zeros, which tells how much of it is left when the client drops it.
struct Zeros {
    left: usize,
    told: Option<tokio::sync::oneshot::Sender<usize>>,
}

impl hyper::body::Body for Zeros {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let piece = self.left.min(ZEROS.len());
        self.left -= piece;
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(bytes::Bytes::from_static(&ZEROS[..piece])))))
    }
}

impl Drop for Zeros {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            let _ = told.send(self.left);
        }
    }
}

#[tokio::test]
async fn a_body_far_beyond_the_limit_is_answered_without_a_reset() {
    let running = Running::start().await;
    let (mut client, connection) =
        handshake::<_, _, Zeros>(TokioExecutor::new(), TokioIo::new(connect(&running).await)).await.unwrap();
    tokio::spawn(connection);
    let (told, left) = tokio::sync::oneshot::channel();
    let zeros = Zeros { left: 40 * 1024 * 1024, told: Some(told) };
    let answer = client.send_request(Request::post("https://pay.esicia.com/").body(zeros).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 413);
    // The answer came before the end of the body, and the rest is taken all the same.
    let left = tokio::time::timeout(std::time::Duration::from_secs(20), left).await.expect("it is taken").unwrap();
    assert_eq!(left, 0, "a reset stopped the body");
}
