//! What is fuzzed, and what must hold whatever comes.

use std::time::Duration;

use kpay_sandbox::Config;
use kpay_sandbox::gateway::scenario::Scenario;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::core::{Core, good_pay};
use crate::harness::{Running, authorization, post};
use crate::kept::assert_masked;
use crate::planted::Garden;
use crate::world::World;

pub(crate) type Target = Box<dyn FnMut(&[u8])>;

/// A target's name, and what makes one.
type Named = (&'static str, fn() -> Target);

pub(crate) const ALL: [Named; 11] = [
    ("body", body),
    ("scenario", scenario),
    ("url", url),
    ("stream", stream),
    ("basic", basic),
    ("form", form),
    ("control", control),
    ("world", world),
    ("certs", certs),
    ("masking", masking),
    ("state", crate::state::target),
];

/// Calls, settlements, time, deliveries, resets and saved states, held against a model.
fn world() -> Target {
    let mut world = World::new();
    Box::new(move |input| world.live(input))
}

/// A certificate folder: refused with a sentence, or opened with certificates that a client takes.
#[cfg(unix)]
fn certs() -> Target {
    let folders = crate::folder::Folders::new();
    Box::new(move |input| folders.open(input))
}

/// Links, FIFOs and modes are Unix's.
#[cfg(not(unix))]
fn certs() -> Target {
    Box::new(|_| {})
}

/// Requests and listeners' responses in which secrets are planted: none of them is found in what is kept.
fn masking() -> Target {
    let (mut garden, mut net, mut round) = (Garden::new(), Net::new(), 0_u32);
    Box::new(move |input| {
        garden.plant(input);
        round += 1;
        if round.is_multiple_of(100) {
            // The archive is made at the edge, so a sandbox becomes what the core is.
            let request = post("/__sandbox/api/state", &garden.core.saved(), "").replacen("POST", "PUT", 1);
            let request = request.replacen(&authorization(), "", 1).replacen("pay.esicia.com", "localhost", 1);
            let answer = String::from_utf8_lossy(&net.send(request.as_bytes())).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let request =
                "GET /__sandbox/api/deliveries?as=har HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let archive = String::from_utf8_lossy(&net.send(request.as_bytes())).into_owned();
            assert!(archive.starts_with("HTTP/1.1 200"), "{archive}");
            assert_masked(&[("HAR", archive)], &garden.planted);
        }
    })
}

/// A request's body, to the core.
fn body() -> Target {
    let (mut core, mut round) = (Core::new("documented"), 0);
    Box::new(move |input| {
        let answered = core.call_with(|_| {}, input);
        let answer: Value = serde_json::from_slice(&answered.body).expect("every answer is JSON");
        assert!(answer.get("retcode").or(answer.get("statusid")).is_some(), "{answer}");
        if answer["success"] == 1 {
            let (tid, refid) = (answer["tid"].as_str().unwrap(), answer["refid"].as_str().unwrap());
            assert!(
                core.gateway.ledger().of_refid("your_username", refid).next().is_some_and(|found| *found.tid == *tid)
            );
        }
        round += 1;
        if round % 2000 == 0 {
            core.advance(Duration::from_secs(600));
            let saved = core.saved_value();
            core.carry_over();
            assert_eq!(core.saved_value(), saved, "what was saved is read back");
            core = Core::new("documented");
        }
    })
}

/// A scenario file: refused with a reason, or played to its end.
fn scenario() -> Target {
    let mut core = Core::new("documented");
    let mut number = 0;
    Box::new(move |input| {
        let Ok(mut scenario) = serde_json::from_slice::<Scenario>(input) else { return };
        scenario.name = "fuzzed".into();
        if scenario.complaint().is_some() {
            return;
        }
        if core.gateway.put_scenario(scenario, None).is_err() {
            return;
        }
        number += 1;
        let mut body = good_pay();
        body["refid"] = json!(format!("F{number}"));
        core.call_with(|call| call.scenario = Some("fuzzed"), body.to_string().as_bytes());
        core.check_status("", &format!("F{number}"));
        let posted = core.advance(Duration::from_secs(3600));
        assert!(posted.len() <= 100_000, "{} postbacks in an hour", posted.len());
        if number % 100 == 0 {
            core = Core::new("documented");
        }
    })
}

/// A `returl`: refused with a reason, or an address that can be posted to.
fn url() -> Target {
    Box::new(|input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(kpay_sandbox::courier::Target { uri, .. }) = kpay_sandbox::courier::target(&text, &[]) {
            assert!(
                !uri.to_string().contains('"') && uri.authority().is_some_and(|to| !to.as_str().contains('@')),
                "{uri}"
            );
            assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{uri}");
            assert!(uri.host().is_some_and(|host| !host.is_empty()), "{uri}");
            assert!(!uri.to_string().contains(|c: char| c.is_control() || c == ' '), "{uri}");
        }
    })
}

/// A sandbox that is made anew before it holds too much, and that reaches nobody.
struct Net {
    runtime: tokio::runtime::Runtime,
    running: Running,
    checkout: String,
    tried: u32,
}

impl Net {
    fn new() -> Net {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let running = runtime.block_on(Running::with(|config: &mut Config| config.offline = true));
        let answer = runtime.block_on(running.pay(|body| body["pmethod"] = json!("cc")));
        let url = answer["url"].as_str().expect("a checkout page");
        let checkout = url.rsplit('/').next().unwrap_or_default().to_owned();
        Net { runtime, running, checkout, tried: 0 }
    }

    /// What is answered to these bytes, after which nothing more comes.
    fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tried += 1;
        if self.tried.is_multiple_of(5000) {
            *self = Net::new();
        }
        let answer = self.runtime.block_on(async {
            let mut stream = self.running.connect_plain().await;
            let mut answer = Vec::new();
            // It may have ended the connection before it has read all; a wait in the control API may outlast us.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let _ = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
            answer
        });
        if self.tried.is_multiple_of(500) {
            let refid = format!("ALIVE-{}", self.tried);
            let alive = self.runtime.block_on(self.running.pay(|body| body["refid"] = json!(refid)));
            assert_eq!(alive["refid"], json!(refid), "others are still served: {alive}");
        }
        answer
    }
}

/// No answer is an internal error, and no header is one that somebody else wrote.
fn sound(answer: &[u8]) {
    let answer = String::from_utf8_lossy(answer);
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    assert!(!head.starts_with("HTTP/1.1 500") || answer.contains("\"retcode\":600"), "{answer}");
    assert!(!head.to_ascii_lowercase().contains("\r\ninjected"), "{answer}");
}

/// The bytes of a connection. However many requests for a tunnel they hold, at most one is granted.
fn stream() -> Target {
    let mut net = Net::new();
    Box::new(move |input| {
        let answer = net.send(input);
        sound(&answer);
        let tunnels = String::from_utf8_lossy(&answer).matches("200 Connection Established").count();
        assert!(tunnels <= 1, "{tunnels} tunnels on one connection");
    })
}

/// The value of an `Authorization` header.
fn basic() -> Target {
    let mut net = Net::new();
    Box::new(move |input| {
        let body = good_pay().to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\nAuthorization: ",
            body.len()
        );
        sound(&net.send(&[head.as_bytes(), input, b"\r\n\r\n", body.as_bytes()].concat()));
    })
}

/// A form of the checkout page.
fn form() -> Target {
    let mut net = Net::new();
    Box::new(move |input| {
        let head = format!(
            "POST /checkout/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            net.checkout,
            input.len()
        );
        let answer = net.send(&[head.as_bytes(), input].concat());
        sound(&answer);
        assert!(!String::from_utf8_lossy(&answer).contains("<script>"), "what was sent is never markup");
    })
}

/// A line of method and path, then a body: the control API.
fn control() -> Target {
    let mut net = Net::new();
    Box::new(move |input| {
        let text = String::from_utf8_lossy(input);
        let (line, body) = text.split_once('\n').unwrap_or((&text, ""));
        let (method, path) = line.split_once(' ').unwrap_or(("POST", line));
        // What sends postbacks could reach others than this machine.
        if ["advance", "settle", "replay", "postbacks", "resume"].iter().any(|word| path.contains(word)) {
            return;
        }
        let request = post(&format!("/__sandbox/api/{path}"), body, "").replacen("POST", method, 1);
        let request = request.replacen(&authorization(), "", 1).replacen("pay.esicia.com", "localhost", 1);
        sound(&net.send(request.as_bytes()));
    })
}
