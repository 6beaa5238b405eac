//! Readers that do not read, and clients that still send, against real sockets.

use std::io::Write;
use std::sync::atomic::AtomicUsize;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::*;
use crate::web::pipe;

/// The limit for each wait of a test.
const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Patience = Patience { usual: Duration::from_millis(200), events: Duration::from_secs(3600) };

/// Returns both ends of a connection on which the system keeps little.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap().0);
    SockRef::from(&client).set_recv_buffer_size(16 * 1024).unwrap();
    SockRef::from(&server).set_send_buffer_size(16 * 1024).unwrap();
    (client, server)
}

/// Serves bodies without an end over a connection, and counts the bytes that were produced.
async fn serve_without_end(server: TcpStream, produced: Arc<AtomicUsize>) {
    let service = service_fn(|_| {
        let (sender, reader) = pipe();
        let produced = Arc::clone(&produced);
        spawn_blocking(move || {
            let mut writer = sender.writer();
            while let Ok(count) = writer.write(&[7; 4096]) {
                produced.fetch_add(count, Ordering::Relaxed);
            }
        });
        std::future::ready(Ok::<_, io::Error>(http::Response::new(Outgoing::streamed(Bytes::new(), reader))))
    });
    let (line, _) = Line::new(server, SHORT);
    let _ = http1::Builder::new().serve_connection(TokioIo::new(line), service).await;
}

#[tokio::test]
async fn sixty_readers_that_do_not_read_hold_little_and_lose_their_connections() {
    let produced = Arc::new(AtomicUsize::new(0));
    let (mut serving, mut clients) = (JoinSet::new(), Vec::new());
    for _ in 0..60 {
        let (mut client, server) = connection().await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        serving.spawn(serve_without_end(server, Arc::clone(&produced)));
        clients.push(client);
    }
    timeout(LIMIT, serving.join_all()).await.expect("the server ends them");
    for client in &clients {
        timeout(LIMIT, client.ready(Interest::ERROR)).await.expect("a reset").unwrap();
    }
    let each = produced.load(Ordering::Relaxed) / clients.len();
    assert!(each < 1024 * 1024, "{each} bytes were produced for each reader that read none");
}

#[tokio::test]
async fn a_reader_that_takes_a_little_now_and_then_is_served() {
    let (mut client, server) = connection().await;
    let (mut line, _) = Line::new(server, SHORT);
    let began = tokio::time::Instant::now();
    let writing = async {
        while began.elapsed() < 4 * SHORT.usual {
            line.write_all(&[7; 64 * 1024]).await?;
        }
        line.shutdown().await
    };
    let reading = async {
        let mut piece = vec![0; 64 * 1024];
        while client.read(&mut piece).await.unwrap() > 0 {}
    };
    let (written, ()) = timeout(LIMIT, async { tokio::join!(writing, reading) }).await.unwrap();
    written.unwrap();
}

#[tokio::test]
async fn an_event_stream_has_its_own_patience() {
    let (client, server) = connection().await;
    let patience = Patience { usual: Duration::from_secs(3600), events: Duration::from_millis(50) };
    let (mut line, reset) = Line::new(server, patience);
    reset.be_patient();
    let writing = async { while line.write_all(&[7; 64 * 1024]).await.is_ok() {} };
    timeout(LIMIT, writing).await.expect("it is shorter here");
    drop((line, client));
}

#[tokio::test]
async fn a_client_that_still_sends_does_not_lose_the_last_answer() {
    let (mut client, server) = connection().await;
    let (mut line, reset) = Line::new(server, Patience::default());
    reset.linger();
    let serving = tokio::spawn(async move {
        line.write_all(b"refused").await?;
        line.shutdown().await
    });
    // More than the system keeps: a close without reading would be a reset.
    client.write_all(&vec![7; 1024 * 1024]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, "refused");
    timeout(LIMIT, serving).await.unwrap().unwrap().unwrap();
}
