//! A merchant's listener: takes postbacks and answers them as the test says.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub(crate) struct Receiver {
    pub(crate) port: u16,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Receiver {
    /// A listener that acknowledges as the guide asks.
    pub(crate) async fn acknowledging() -> Receiver {
        Receiver::answering(|body| {
            let acknowledgement = json!({ "tid": body["tid"], "refid": body["refid"], "reply": "OK" }).to_string();
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{acknowledgement}", acknowledgement.len())
        })
        .await
    }

    pub(crate) async fn answering(answer: impl Fn(Value) -> String + Clone + Send + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), sender.clone()));
            }
        });
        Receiver { port, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The next request, head and body.
    pub(crate) fn taken(&mut self) -> Option<String> {
        self.requests.try_recv().ok()
    }
}

async fn serve(mut stream: TcpStream, answer: impl Fn(Value) -> String, sender: mpsc::UnboundedSender<String>) {
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0);
        if body.len() < length {
            continue;
        }
        let reply = answer(serde_json::from_str(body).unwrap_or_default());
        let _ = sender.send(text);
        bytes.clear();
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}
