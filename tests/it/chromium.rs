//! A real Chromium, one for all tests, driven through a pipe in its own protocol (CDP).

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::harness::Running;

/// The browser. It ends when its pipe does, so with the tests.
pub(crate) struct Chromium {
    pipe: Mutex<ChildStdin>,
    state: Arc<Mutex<State>>,
    next_id: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<Value>>,
    /// What a page complained about, by its session.
    problems: HashMap<String, Vec<String>>,
}

/// The certificates of all sandboxes that browsers visit: a browser is told once which to trust.
fn certs() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser-certs")
}

/// The browser; `None`, after saying so, where there is none and nobody insists.
fn chromium() -> Option<&'static Chromium> {
    static CHROMIUM: OnceLock<Option<Chromium>> = OnceLock::new();
    CHROMIUM.get_or_init(Chromium::start).as_ref()
}

fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what} is missing, and CI is set: run tests/all.sh, which installs it");
    eprintln!("!!! SKIPPED: {what} is missing; tests/all.sh installs it");
}

fn program() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

/// axe-core, which judges contrast and labels; `None`, after saying so, where it was not installed.
pub(crate) fn axe() -> Option<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/node_modules/axe-core/axe.min.js");
    let script = std::fs::read_to_string(file).ok();
    if script.is_none() {
        missing("axe-core (npm)");
    }
    script
}

/// A sandbox whose certificate the browser trusts.
pub(crate) async fn sandbox(change: impl FnOnce(&mut kpay_sandbox::Config)) -> Option<Running> {
    // One after the other: the first one makes the certificates.
    static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = STARTING.lock().await;
    let running = Running::with(|config| {
        config.certs = certs();
        config.clock = kpay_sandbox::clock::ClockMode::Running;
        config.clock_start = None;
        change(config);
    })
    .await;
    chromium().map(|_| running)
}

/// What stands for the leaf's key in Chromium's list of those to be trusted.
fn pin() -> String {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let leaf = CertificateDer::from_pem_file(certs().join("server.pem")).expect("a sandbox has made it");
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parsed.tbs_certificate.subject_pki.raw);
    base64::engine::general_purpose::STANDARD.encode(hash)
}

impl Chromium {
    fn start() -> Option<Chromium> {
        let Some(program) = program() else {
            missing("Chromium");
            return None;
        };
        let as_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        // The shell gives Chromium its pipe as the file descriptors that it wants, and tidies up when it has ended.
        let script = r#"folder=$(mktemp -d); "$@" --user-data-dir="$folder" 3<&0 4>&1 </dev/null >/dev/null 2>&1; rm -rf "$folder""#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(program).args([
            "--headless",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--lang=en",
        ]);
        shell.arg(format!("--ignore-certificate-errors-spki-list={}", pin()));
        if as_root {
            shell.arg("--no-sandbox");
        }
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let (pipe, answers) = (Mutex::new(child.stdin.take().unwrap()), child.stdout.take().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { break };
                take(&shared, serde_json::from_slice(&message).unwrap_or_default());
            }
            // Whoever waits for a browser that has ended is told so.
            shared.lock().unwrap().waiting.clear();
            let _ = child.wait();
        });
        Some(Chromium { pipe, state, next_id: AtomicU64::new(1) })
    }

    async fn call(&self, session: &str, method: &str, params: Value) -> Result<Value, String> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.state.lock().unwrap().waiting.insert(id, sender);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !session.is_empty() {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.pipe.lock().unwrap().write_all(&bytes).expect("the browser runs");
        let answer = tokio::time::timeout(Duration::from_secs(30), receiver).await;
        let mut answer = answer.map_err(|_| format!("{method}: no answer in 30 s"))?.map_err(|_| "it has ended")?;
        match answer["error"]["message"].as_str() {
            Some(error) => Err(format!("{method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }
}

/// An answer to a call, or news of a page.
fn take(state: &Mutex<State>, message: Value) {
    let mut state = state.lock().unwrap();
    if let Some(waiting) = message["id"].as_u64().and_then(|id| state.waiting.remove(&id)) {
        let _ = waiting.send(message);
        return;
    }
    let params = &message["params"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problem = match message["method"].as_str().unwrap_or_default() {
        "Runtime.exceptionThrown" => params["exceptionDetails"].to_string(),
        "Runtime.consoleAPICalled" if matches!(params["type"].as_str(), Some("error" | "warning" | "assert")) => {
            params["args"].to_string()
        }
        // Among them what a page's policy did not allow.
        "Log.entryAdded" if matches!(params["entry"]["level"].as_str(), Some("error" | "warning")) => {
            format!("{} {}", text(&params["entry"]["text"]), text(&params["entry"]["url"]))
        }
        "Network.loadingFailed" if params["canceled"] != true => format!("failed: {params}"),
        _ => return,
    };
    state.problems.entry(text(&message["sessionId"])).or_default().push(problem);
}

/// A tab of its own, with storage and cookies of its own.
pub(crate) struct Page {
    chromium: &'static Chromium,
    session: String,
    context: String,
}

impl Page {
    pub(crate) async fn open(url: &str) -> Page {
        let chromium = chromium().expect("who has a sandbox for it has a browser");
        let context = chromium.call("", "Target.createBrowserContext", json!({})).await.unwrap();
        let context = context["browserContextId"].as_str().unwrap().to_owned();
        let target = json!({ "url": "about:blank", "browserContextId": context });
        let target = chromium.call("", "Target.createTarget", target).await.unwrap();
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = chromium.call("", "Target.attachToTarget", attach).await.unwrap();
        let page = Page { chromium, session: session["sessionId"].as_str().unwrap().to_owned(), context };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.size(1280).await;
        page.go(url).await;
        page
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.chromium.call(&self.session, method, params).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn size(&self, width: u32) {
        let height = if width < 600 { 844 } else { 900 };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    pub(crate) async fn go(&self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        self.until("document.readyState === 'complete'").await;
    }

    /// What an expression comes to; `None` when the page went away meanwhile.
    async fn evaluate(&self, expression: &str) -> Option<Value> {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.chromium.call(&self.session, "Runtime.evaluate", params).await;
        // The page that was asked has made way for another.
        let mut answer = answer.ok()?;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Some(answer["result"]["value"].take())
    }

    pub(crate) async fn js(&self, expression: &str) -> Value {
        self.evaluate(expression).await.unwrap_or_else(|| panic!("the page went away: {expression}"))
    }

    /// Returns once a condition holds, on this page or on one that it leads to; fails the test after 20 s. It is looked at
    /// from here, because a page without scripts has no timers either.
    pub(crate) async fn until(&self, condition: &str) {
        let look = format!("(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()");
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1000 {
            looks.tick().await;
            if self.evaluate(&look).await == Some(Value::Bool(true)) {
                return;
            }
        }
        let text = self.evaluate("location.href + '\\n' + document.body.innerText").await.unwrap_or_default();
        panic!("never: {condition}\non {}", text.as_str().unwrap_or_default());
    }

    pub(crate) async fn until_text(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text))).await;
    }

    /// A click of the mouse in the middle of what a selector finds.
    pub(crate) async fn click(&self, selector: &str) {
        self.clicks(selector, 1).await;
    }

    pub(crate) async fn clicks(&self, selector: &str, count: u32) {
        self.until(&format!("document.querySelector({})", json!(selector))).await;
        let place = self
            .js(&format!(
                "(() => {{ const one = document.querySelector({}); one.scrollIntoView({{ block: 'center' }}); \
                 const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
                json!(selector)
            ))
            .await;
        for click in 1..=count {
            for kind in ["mousePressed", "mouseReleased"] {
                let event =
                    json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": click });
                self.call("Input.dispatchMouseEvent", event).await;
            }
        }
    }

    /// Types into what has the focus, key by key.
    pub(crate) async fn write(&self, text: &str) {
        for key in text.chars() {
            self.call(
                "Input.dispatchKeyEvent",
                json!({ "type": "keyDown", "text": key.to_string(), "key": key.to_string() }),
            )
            .await;
            self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key.to_string() })).await;
        }
    }

    pub(crate) async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            other => panic!("no such key: {other}"),
        };
        let event =
            |kind: &str| json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        self.call("Input.dispatchKeyEvent", event("keyDown")).await;
        self.call("Input.dispatchKeyEvent", event("keyUp")).await;
    }

    pub(crate) async fn back(&self) {
        let history = self.call("Page.getNavigationHistory", json!({})).await;
        let before = history["currentIndex"].as_u64().unwrap() as usize - 1;
        self.call("Page.navigateToHistoryEntry", json!({ "entryId": history["entries"][before]["id"] })).await;
    }

    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        for width in [390, 1280] {
            self.size(width).await;
            let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
            let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
            std::fs::write(folder.join(format!("{name}-{width}.png")), bytes).unwrap();
        }
    }

    /// What axe finds wrong with contrast, labels and the like, in light and dark, on a phone and on a desk.
    pub(crate) async fn is_accessible(&self) {
        let Some(axe) = axe() else { return };
        for (width, scheme) in [(1280, "light"), (390, "dark")] {
            self.size(width).await;
            let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            self.call("Emulation.setEmulatedMedia", scheme.clone()).await;
            self.js(&format!("{axe}; true")).await;
            let found = self
                .js("axe.run(document, { resultTypes: ['violations'] }).then((found) => \
                     found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html} ${node.failureSummary}`)))")
                .await;
            assert_eq!(found, json!([]), "{} at {width}, {scheme}", self.js("location.href").await);
        }
        self.call("Emulation.setEmulatedMedia", json!({ "features": [] })).await;
    }

    /// What the page complained about since it was last asked.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.chromium.state.lock().unwrap().problems.remove(&self.session).unwrap_or_default()
    }

    /// Closes the tab; it must have had nothing to complain about.
    pub(crate) async fn close(self) {
        assert_eq!(self.problems(), Vec::<String>::new());
        let context = json!({ "browserContextId": self.context });
        self.chromium.call("", "Target.disposeBrowserContext", context).await.unwrap();
    }
}
