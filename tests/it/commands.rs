//! The subcommands that ask a running sandbox, as the program itself.

use std::process::{Command, Output};

use kpay_sandbox::Config;
use serde_json::{Value, json};

use crate::harness::Running;

struct Terminal {
    url: String,
    folder: tempfile::TempDir,
}

impl Terminal {
    fn of(running: &Running) -> Terminal {
        let url = format!("http://127.0.0.1:{}", running.port());
        Terminal { url, folder: tempfile::tempdir().unwrap() }
    }

    /// Exit code, standard output, standard error.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"));
        command.args(arguments).current_dir(self.folder.path()).env("KPAY_SANDBOX_CONTROL", &self.url);
        command.env_remove("KPAY_SANDBOX_CONTROL_TOKEN");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let Output { status, stdout, stderr } = output;
        (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let (code, out, error) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {error}");
        out
    }
}

async fn paying(change: impl FnOnce(&mut Config)) -> (Running, Terminal) {
    let running = Running::with(change).await;
    running.pay(|body| (body["msisdn"], body["returl"]) = (json!("0780000003"), json!("/"))).await;
    let terminal = Terminal::of(&running);
    (running, terminal)
}

/// `doctor` in a folder of its own, with nothing trusted.
async fn doctor(folder: &std::path::Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"));
    std::fs::write(folder.join("hosts"), "").unwrap();
    command.args(["doctor", "--hosts", "hosts"]).args(arguments).current_dir(folder);
    for name in ["KPAY_SANDBOX_CONTROL", "KPAY_SANDBOX_CERTS", "KPAY_SANDBOX_CONTROL_TOKEN"] {
        command.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_doctor_judges_the_certificates_of_the_running_sandbox() {
    let running = Running::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let port = running.port().to_string();
    let ca = running.sandbox.ca();
    let certs = ca.parent().unwrap().display().to_string();
    let out = doctor(elsewhere.path(), &["--port", &port]).await;
    assert!(out.contains(&format!("ok     {certs}: the CA and its certificate are good")), "{out}");
    std::fs::write(ca, "broken").unwrap();
    let out = doctor(elsewhere.path(), &["--port", &port]).await;
    assert!(out.contains("ca.pem is not the CA of the running sandbox"), "{out}");
    assert!(
        out.contains(&format!("fix: curl --output {} http://localhost:{port}/__sandbox/ca.pem", ca.display())),
        "{out}"
    );
    std::fs::remove_file(ca).unwrap();
    assert!(doctor(elsewhere.path(), &["--port", &port]).await.contains("where this program does not see them"));
    // Without a sandbox, the folder is what there is to judge.
    std::fs::write(ca, "broken").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let out = doctor(elsewhere.path(), &["--port", &free, "--certs", &certs]).await;
    assert!(out.contains("is not a certificate in PEM\n       fix: delete it"), "{out}");
}

#[tokio::test]
async fn a_doctor_blames_a_wrong_clock_and_nothing_else() {
    let later = kpay_sandbox::clock::wall_clock() + std::time::Duration::from_secs(3 * 365 * 86_400);
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    kpay_sandbox::certificates::open(&certs, &[], later).unwrap();
    let own = certs.clone();
    let running = Running::with(move |config| config.certs = own).await;
    let out = doctor(folder.path(), &["--port", &running.port().to_string()]).await;
    assert!(out.contains("does not fit the time") && out.contains("fix: set this machine's clock"), "{out}");
    assert!(!out.contains("trust the CA") && !out.contains("near this machine's"), "{out}");
    let long_after = later + std::time::Duration::from_secs(20 * 365 * 86_400);
    let complaint = kpay_sandbox::certificates::complaint(&certs, long_after).unwrap().unwrap();
    assert!(complaint.by_clock, "{complaint:?}");
}

#[tokio::test]
async fn a_doctor_does_not_say_that_a_sandbox_with_a_token_is_none() {
    let running = Running::with(|config| config.control_token = Some("a-long-token".into())).await;
    let folder = tempfile::tempdir().unwrap();
    let port = running.port().to_string();
    let out = doctor(folder.path(), &["--port", &port]).await;
    assert!(out.contains("ok     a sandbox of version ") && out.contains("a bearer token is required"), "{out}");
    assert!(!out.contains("is taken") && !out.contains("ca.pem is gone"), "{out}");
    let out = doctor(folder.path(), &["--port", &port, "--token", "a-long-token"]).await;
    assert!(out.contains("good for the next 30 days"), "{out}");
}

#[tokio::test]
async fn hints_name_subcommands_and_not_requests() {
    let (_running, terminal) = paying(|_| {}).await;
    for (arguments, hint) in [
        (&["transactions", "none"][..], "kpay-sandbox transactions lists them"),
        (&["deliveries", "99"], "kpay-sandbox deliveries lists them"),
        (&["reset", "--merchant", "nobody"], "kpay-sandbox merchants lists them"),
        (&["scenarios", "none"], "kpay-sandbox scenarios NAME --put FILE"),
        (&["verify", r#"[{"for": "call", "count": 9}]"#], "kpay-sandbox logs tells"),
        (&["api", "GET", "none"], "kpay-sandbox --help lists"),
    ] {
        let (_, _, error) = terminal.run(arguments).await;
        assert!(error.contains(hint) && !error.contains("GET /__sandbox") && !error.contains("PUT"), "{error}");
    }
}

#[tokio::test]
async fn a_story_is_told_from_the_terminal() {
    let (running, terminal) = paying(|_| {}).await;
    assert!(terminal.ok(&["status"]).await.contains("clock.mode           paused"));
    let table = terminal.ok(&["transactions"]).await;
    assert!(
        table.starts_with("tid ") && table.contains("ORDER-1  0780000003  5000    RWF       pending  pending"),
        "{table}"
    );
    assert!(
        terminal.ok(&["settle", "ORDER-1", "02", "--text", "No money"]).await.contains("statusdesc           No money")
    );
    terminal.ok(&["wait", "transaction", "refid=ORDER-1", "status=failed"]).await;
    let waited = terminal.ok(&["wait", "delivery", "refid=ORDER-1", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&waited).unwrap()["matched"][0]["verdict"], "failed");
    assert!(terminal.ok(&["postback", "ORDER-1", r#"{"fields": {"fee": 1}}"#]).await.contains(r#""fee":1"#));
    assert!(terminal.ok(&["replay", "2"]).await.contains("id                   3"));
    assert!(terminal.ok(&["deliveries", "2", "--as", "curl"]).await.starts_with("curl --request POST / "));
    assert_eq!(terminal.ok(&["deliveries", "--where", "verdict=failed"]).await.lines().count(), 4);
    terminal.ok(&["next", "retcode-607", "--times", "2", "--when", r#"{"amount": 5000}"#]).await;
    assert_eq!(running.pay(|body| body["refid"] = json!("B")).await["retcode"], 607);
    assert!(terminal.ok(&["next"]).await.contains("retcode-607"));
    assert_eq!(terminal.ok(&["next", "--clear"]).await, "none\n");
    assert!(terminal.ok(&["advance", "30s"]).await.contains("complete             true"));
    assert!(terminal.ok(&["advance"]).await.contains("2026-01-31T12:00:35.000Z"));
    assert!(terminal.ok(&["logs"]).await.contains("settled"));
    assert!(terminal.ok(&["coverage"]).await.contains("met: "));
    terminal.ok(&["clock", "resume"]).await;
    assert!(terminal.ok(&["clock"]).await.contains("running"));
    terminal.ok(&["verify", r#"[{"for": "call", "count": 2}]"#]).await;
    terminal.ok(&["reset", "--merchant", "your_username"]).await;
    assert_eq!(terminal.ok(&["transactions"]).await, "none\n");
}

#[tokio::test]
async fn scenarios_and_everything_else_are_changed_from_the_terminal() {
    let (running, terminal) = paying(|_| {}).await;
    let file = terminal.folder.path().join("own.json");
    std::fs::write(&file, r#"{"answer": {"refused": {"retcode": 605}}}"#).unwrap();
    terminal.ok(&["scenarios", "own", "--put", "own.json"]).await;
    assert!(terminal.ok(&["scenarios"]).await.contains("own "));
    terminal.ok(&["api", "PUT", "merchants/your_username", r#"{"scenario": "own"}"#]).await;
    assert_eq!(running.pay(|body| body["refid"] = json!("B")).await["retcode"], 605);
    assert!(terminal.ok(&["merchants"]).await.contains("your_username  true        own"));
    let (code, _, error) = terminal.run(&["scenarios", "approve", "--delete"]).await;
    assert!(code == 1 && error.contains("'approve' was not added at run time"), "{code} {error}");
    terminal.ok(&["scenarios", "own", "--delete"]).await;
}

#[tokio::test]
async fn what_is_not_met_is_exit_4_and_what_cannot_be_asked_is_a_sentence() {
    let (_running, terminal) = paying(|_| {}).await;
    for (arguments, expected, word) in [
        (&["wait", "delivery", "refid=ORDER-1", "--timeout", "50ms"][..], 4, "there were no deliveries at all"),
        (&["verify", r#"[{"for": "delivery"}]"#], 4, "wanted at least 1 deliveries"),
        (&["settle", "NONE"], 1, "there is no transaction"),
        (&["status", "--control", "http://127.0.0.1:1"], 1, "no sandbox answers at http://127.0.0.1:1"),
        (&["status", "--control", "https://localhost"], 2, "write http://"),
        (&["next", "decline", "--when", "amount"], 2, "is not JSON"),
        (&["wait", "delivery", "refid"], 2, "write FIELD=VALUE"),
        (&["scenarios", "own", "--put", "missing.json"], 2, "missing.json"),
        (&["api", "GET", "nothing"], 1, "there is no /__sandbox/api/nothing"),
    ] {
        let (code, _, error) = terminal.run(arguments).await;
        assert_eq!(code, expected, "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn a_token_is_sent_when_there_is_one() {
    let (_running, terminal) = paying(|config| config.control_token = Some("a-long-token".into())).await;
    let (code, _, error) = terminal.run(&["status"]).await;
    assert!(code == 1 && error.contains("a bearer token is required"), "{error}");
    terminal.ok(&["status", "--token", "a-long-token"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn env_prints_what_a_shell_needs_to_meet_a_running_sandbox() {
    let (running, terminal) = paying(|_| {}).await;
    let lines = terminal.ok(&["env"]).await;
    let script = format!(
        "{lines}\nexport NO_PROXY= no_proxy=\ncurl --silent --user \"$KPAY_USERNAME:$KPAY_PASSWORD\" https://pay.esicia.com/ --data '{{\"action\":\"checkstatus\",\"refid\":\"none\"}}'"
    );
    let shell = tokio::task::spawn_blocking(move || Command::new("sh").args(["-c", &script]).output().unwrap());
    let answer = String::from_utf8(shell.await.unwrap().stdout).unwrap();
    assert!(answer.contains(r#""statusid":"611""#), "{answer}");
    let object: Value = serde_json::from_str(&terminal.ok(&["env", "json", "--intercept=false"]).await).unwrap();
    assert_eq!((&object["KPAY_BASE_URL"], &object["HTTPS_PROXY"]), (&json!(running.sandbox.url()), &Value::Null));
    let (code, _, error) = terminal.run(&["env", "--merchant", "nobody"]).await;
    assert!(code == 1 && error.contains("'nobody'"), "{error}");
}

#[tokio::test]
async fn hosts_lines_are_printed_written_once_and_taken_back() {
    let (_running, terminal) = paying(|_| {}).await;
    let line = "127.0.0.1 pay.esicia.rw pay.esicia.com esicia.rw # kpay-sandbox\n";
    assert_eq!(terminal.ok(&["hosts"]).await, line);
    let file = terminal.folder.path().join("hosts");
    let own = "127.0.0.1 localhost\n10.0.0.1 pay.esicia.com";
    std::fs::write(&file, own).unwrap();
    for _ in 0..2 {
        terminal.ok(&["hosts", "--write", "--file", "hosts"]).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{line}{own}"));
    }
    terminal.ok(&["hosts", "--remove", "--file", "hosts"]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), own);
    let (code, _, error) = terminal.run(&["hosts", "--write", "--file", "no/such"]).await;
    assert!(code == 1 && error.contains("--file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_what_is_wrong_with_each_answer_of_a_listener() {
    let (_running, terminal) = paying(|_| {}).await;
    let home = terminal.folder.path().to_owned();
    let probe = async |arguments: Vec<String>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"));
        command.arg("probe").args(arguments).env("HOME", &home).env_remove("XDG_DATA_HOME").current_dir(&home);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let mut good = crate::receiver::Receiver::acknowledging().await;
    let (code, out, error) = probe(vec![good.url("/postback")]).await;
    assert_eq!((code, out.lines().count()), (0, 6), "{out}{error}");
    assert!(out.lines().all(|line| line.ends_with(" 200  acknowledged")), "{out}");
    let bad =
        crate::receiver::Receiver::answering(|_| "HTTP/1.1 415 Unsupported\r\nContent-Length: 0\r\n\r\n".into()).await;
    let (code, out, _) = probe(vec![bad.url("/"), "--profile".into(), "observed".into()]).await;
    assert!(code == 1 && out.matches("415  undelivered: answered HTTP 415").count() == 6, "{out}");
    let arguments = [good.url("/"), "--refid".into(), "ORDER-1".into(), "--tid".into(), "E1".into()];
    let (code, out, error) = probe(arguments.to_vec()).await;
    assert_eq!((code, out.lines().count()), (0, 6), "{out}{error}");
    let posted = std::iter::from_fn(|| good.taken()).skip(6);
    assert_eq!(posted.filter(|body| body.contains(r#""tid":"E1","refid":"ORDER-1""#)).count(), 6);
    let (code, _, error) = probe(vec![good.url("/"), "--refid".into(), " ".into()]).await;
    assert!(code == 2 && error.contains("--refid"), "{error}");
    let (code, out, _) = probe(vec!["http://127.0.0.1:1/".into()]).await;
    assert!(code == 1 && out.contains("-  undelivered: could not connect"), "{out}");
    let (code, _, error) = probe(vec![" ".into()]).await;
    assert!(code == 2 && error.contains("returl"), "{error}");
    assert_eq!(terminal.run(&["healthcheck"]).await.0, 0);
    assert_eq!(terminal.run(&["healthcheck", "--control", "http://127.0.0.1:1"]).await.0, 1);
}

#[tokio::test]
async fn the_ca_is_put_into_a_store_and_taken_out_of_it() {
    let (_running, terminal) = paying(|_| {}).await;
    let file = terminal.folder.path().join("store/kpay-sandbox.crt");
    std::fs::create_dir(terminal.folder.path().join("store")).unwrap();
    for _ in 0..2 {
        terminal.ok(&["trust", "--into", "store"]).await;
        let ca = std::fs::read(terminal.folder.path().join("certs/ca.pem")).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), ca);
    }
    for _ in 0..2 {
        terminal.ok(&["untrust", "--into", "store"]).await;
        assert!(!file.exists());
    }
    terminal.ok(&["untrust", "--into", "store", "--certs", "never"]).await;
    assert!(!terminal.folder.path().join("never").exists());
    let (code, _, error) = terminal.run(&["trust", "--into", "none"]).await;
    assert!(code == 1 && error.contains("none: there is no such folder"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_finds_what_is_wrong_and_shows_the_fix() {
    let (running, terminal) = paying(|_| {}).await;
    let folder = terminal.folder.path().to_owned();
    let certs = running.sandbox.ca().parent().unwrap().to_owned();
    let doctor = async |port: u16, certs: &std::path::Path, more: Vec<(&'static str, String)>, fix: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"));
        command.args(["doctor", "--port", &port.to_string(), "--hosts", "hosts", "--certs"]).arg(certs);
        command.args(fix.then_some("--fix")).current_dir(&folder);
        for name in
            ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PHP_INI_SCAN_DIR", "HTTPS_PROXY", "https_proxy"]
        {
            command.env_remove(name);
        }
        command.envs(more);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let trusted: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&terminal.ok(&["env", "json"]).await).unwrap();
    let trust = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PHP_INI_SCAN_DIR", "HTTPS_PROXY"]
        .map(|name| (name, trusted[name].clone()));
    std::fs::write(folder.join("hosts"), "127.0.0.1 localhost\n").unwrap();
    let (code, out) = doctor(running.port(), &certs, trust.to_vec(), false).await;
    assert!(code == 0 && out.contains("curl trusts the CA") && !out.contains("WRONG"), "{out}");
    assert!(out.contains("HTTPS_PROXY leads to the sandbox"), "{out}");
    assert!(out.lines().any(|line| line.contains(" isolation: ") && line.contains("Not covered: ")), "{out}");

    std::fs::write(folder.join("hosts"), "10.0.0.1 pay.esicia.com\n").unwrap();
    let elsewhere = vec![("https_proxy", "http://proxy.example:3128/".to_owned()), ("NO_PROXY", String::new())];
    let (code, out) = doctor(running.port(), &certs, elsewhere, false).await;
    assert_eq!(code, 1);
    for wrong in [
        "curl does not trust the CA",
        "hosts, line 1, sends pay.esicia.com to 10.0.0.1",
        "https_proxy leads to proxy.example:3128",
    ] {
        assert!(out.contains(&format!("WRONG  {wrong}")), "{wrong} in {out}");
    }
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    tokio::spawn(async move { while other.accept().await.is_ok() {} });
    let (_, out) = doctor(port, &folder.join("new"), Vec::new(), false).await;
    assert!(
        out.contains(&format!("port {port} is taken")) && out.contains(&format!("process {}", std::process::id())),
        "{out}"
    );
    assert!(out.contains("WRONG  ") && out.contains("the CA in ca.pem is gone") && !folder.join("new").exists());
    std::fs::write(folder.join("hosts"), "127.0.0.1 pay.esicia.rw pay.esicia.com # kpay-sandbox\n").unwrap();
    let (_, out) = doctor(port, &folder.join("new"), Vec::new(), true).await;
    assert!(folder.join("new/ca.pem").exists() && out.contains("fixed"), "{out}");
    let listens_there = std::net::TcpStream::connect("127.0.0.1:443").is_ok();
    assert!(listens_there || std::fs::read_to_string(folder.join("hosts")).unwrap().is_empty());
}

#[tokio::test]
async fn env_github_writes_nothing_that_runners_refuse_and_says_what_to_do_instead() {
    let (_running, terminal) = paying(|_| {}).await;
    let (code, out, said) = terminal.run(&["env", "github"]).await;
    assert!(code == 0 && out.contains("\nHTTPS_PROXY=http://127.0.0.1:"), "{said}");
    assert!(!out.contains("NODE_OPTIONS") && said.contains("hosts --write"), "{out} {said}");
    let (_, out, said) = terminal.run(&["env", "shell"]).await;
    assert!(out.contains("export NODE_OPTIONS=") && !said.contains("hosts --write"), "{out} {said}");
    let action = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/action.yml")).unwrap();
    assert!(action.contains("env github") && action.contains("hosts --write"), "it does what env says");
}
