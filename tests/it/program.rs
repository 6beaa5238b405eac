//! The program itself: its exit codes, what it prints, its ready file, its end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KPAY_SANDBOX_")) {
        command.env_remove(name);
    }
    command
}

/// Starts it, and returns once it has said its curl line.
fn serving(command: &mut Command) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    while !banner.contains("curl ") && !banner.contains("\"ready\"") {
        assert_ne!(out.read_line(&mut banner).unwrap(), 0, "it ended: {banner}");
    }
    (child, out, banner)
}

fn terminate(child: &mut Child) {
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
}

fn failing(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn it_says_how_to_call_it_writes_the_ready_file_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--ready-file", "ready.json"]);
    let (mut child, mut out, banner) = serving(&mut command);
    let ready: Value = serde_json::from_str(&fs::read_to_string(folder.path().join("ready.json")).unwrap()).unwrap();
    assert_eq!(ready["pid"], child.id());
    assert!(banner.contains(ready["url"].as_str().unwrap()), "{banner}");
    for file in ["ca", "bundle"] {
        assert!(Path::new(ready[file].as_str().unwrap()).is_file(), "{file}");
    }

    let curl = banner.lines().find(|line| line.starts_with("curl ")).unwrap();
    let answer = Command::new("sh")
        .args(["-c", &format!("{curl} --silent --show-error --noproxy '*'")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!(answer["reply"], "PENDING");

    terminate(&mut child);
    let mut log = String::new();
    out.read_to_string(&mut log).unwrap();
    assert!(log.contains("--> pay ORDER-1 5000 RWF momo from 127.0.0.1: 0 PENDING"), "{log}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_flag_has_its_variable_and_the_log_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(folder.path());
    command
        .env("KPAY_SANDBOX_LISTEN", "127.0.0.1:0")
        .env("KPAY_SANDBOX_LOG", "json")
        .env("KPAY_SANDBOX_PROFILE", "portal")
        .env("KPAY_SANDBOX_SEED", "");
    let (mut child, _out, ready) = serving(&mut command);
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert!(ready["facts"]["url"].as_str().unwrap().starts_with("https://127.0.0.1:"));
    terminate(&mut child);
    assert!(child.wait().unwrap().success());

    let help = program(folder.path()).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.matches("--").count();
    assert!(flags > 10);
    for flag in [
        "listen",
        "host",
        "certs",
        "profile",
        "fixtures",
        "refusal-status",
        "postback-to",
        "postback-ca",
        "postback-insecure",
        "postback-retries",
        "postback-timeout",
        "ready-file",
        "seed",
        "log",
        "quiet",
    ] {
        let variable = format!("KPAY_SANDBOX_{}", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&format!("--{flag}")) && help.contains(&variable), "{flag}");
    }
}

#[test]
fn a_wrong_setting_is_one_sentence_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = folder.path().join("fixtures");
    fs::create_dir(&fixtures).unwrap();
    fs::write(fixtures.join("merchants.json"), "[\n  { \"user\": \"x\" }\n]").unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["--listen", "nonsense"], "127.0.0.1:8443"),
        (&["--profile", "none"], "documented, observed, portal"),
        (&["--fixtures", "fixtures"], "merchants.json: [0].user: unknown field `user`"),
        (&["--fixtures", "missing"], "missing"),
        (&["--certs", "file"], "file"),
        (&["--postback-ca", "missing.pem"], "missing.pem"),
        (&["--postback-to", "nonsense"], "="),
        (&["--refusal-status", "201"], "200 or http"),
        (&["--ready-file", "no/such/folder/ready.json"], "ready.json"),
    ];
    for (arguments, word) in cases {
        let mut command = program(folder.path());
        let (code, sentence) =
            failing(command.args(arguments).args(["--quiet"]).env("KPAY_SANDBOX_LISTEN", "127.0.0.1:0"));
        assert_eq!(code, 2, "{arguments:?}: {sentence}");
        assert!(sentence.contains(word), "{arguments:?}: {sentence}");
    }
}

#[test]
fn a_port_in_use_is_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, sentence) = failing(program(folder.path()).args(["--listen", &address]));
    assert!(sentence.contains(&address) && sentence.contains("in use"), "{sentence}");
    assert_eq!(code, 3);
}

#[test]
fn a_port_taken_by_another_sandbox_names_its_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _out, banner) = serving(program(folder.path()).args(["--listen", "127.0.0.1:0"]));
    let dashboard = banner.lines().find_map(|line| line.trim().strip_prefix("dashboard ")).unwrap();
    let address = dashboard.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (code, sentence) = failing(program(other.path()).args(["--listen", address]));
    terminate(&mut first);
    first.wait().unwrap();
    assert_eq!(code, 3, "{sentence}");
    assert!(sentence.contains("another kpay-sandbox, version ") && sentence.contains(dashboard), "{sentence}");
}

#[test]
fn the_banner_tells_a_paused_clock_and_a_closed_control_api() {
    let folder = tempfile::tempdir().unwrap();
    let start = "2026-01-31T12:00:00Z";
    let banner = |arguments: &[&str]| {
        let (mut child, _out, banner) = serving(program(folder.path()).args(arguments));
        terminate(&mut child);
        child.wait().unwrap();
        banner
    };
    let open = banner(&["--listen", "127.0.0.1:0"]);
    assert!(!open.contains("paused") && !open.contains("closed"), "{open}");
    let closed = banner(&["--listen", "0.0.0.0:0", "--clock", "paused", "--clock-start", start]);
    assert!(closed.contains("paused at 2026-01-31T12:00:00.000Z. Move it on with: kpay-sandbox advance"), "{closed}");
    assert!(
        closed.contains("closed, because other machines reach this port. Open it with --control-token"),
        "{closed}"
    );
    let token = banner(&["--listen", "0.0.0.0:0", "--control-token", "a-long-token"]);
    assert!(!token.contains("closed"), "{token}");
}

#[test]
#[cfg(unix)]
fn a_second_signal_ends_at_once_and_tells_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    // A listener that takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--log", "json", "--scenario", "early-postback"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let returl = format!("http://{}/", silent.local_addr().unwrap());
    let body = crate::core::good_pay().to_string().replace("http://localhost:3000/postback", &returl);
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--insecure",
        "--noproxy",
        "*",
        "--max-time",
        "60",
        "--user",
        "your_username:your_password",
    ]);
    let mut curl = curl.arg(ready["facts"]["url"].as_str().unwrap()).args(["--data", &body]).spawn().unwrap();
    let _held = silent.accept().unwrap();
    terminate(&mut child);
    // Two signals that come at once may arrive as one: the first is heard when the port is closed.
    let port = u16::try_from(ready["facts"]["port"].as_u64().unwrap()).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(std::time::Instant::now() < deadline, "the first signal was not heard");
    }
    terminate(&mut child);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let _ = curl.kill();
    curl.wait().unwrap();
    let code = child.wait().unwrap().code();
    assert!(said.contains("1 postbacks under way are lost") && code == Some(143), "{code:?} {said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named_from_the_root_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let (code, sentence) = failing(program(folder.path()).args(["--listen", "127.0.0.1:0", "--certs", "file/certs"]));
    let absolute = folder.path().canonicalize().unwrap().join("file/certs");
    assert!(code == 2 && sentence.contains(&*absolute.to_string_lossy()), "{sentence}");
    assert!(sentence.contains("choose another folder with --certs"), "{sentence}");
    let (code, sentence) =
        failing(program(folder.path()).args(["--listen", "127.0.0.1:0", "--ready-file", "no/r.json"]));
    let absolute = folder.path().canonicalize().unwrap().join("no/r.json");
    assert!(code == 2 && sentence.contains(&format!("{}: cannot be written", absolute.display())), "{sentence}");
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--seed", "7"]);
        let (mut child, _out, banner) = serving(&mut command);
        let curl = banner.lines().find(|line| line.starts_with("curl ")).unwrap();
        let answer = Command::new("sh")
            .args(["-c", &format!("{curl} --silent --noproxy '*'")])
            .current_dir(folder.path())
            .output()
            .unwrap();
        terminate(&mut child);
        child.wait().unwrap();
        let mut answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
        answer["url"] = answer["url"].as_str().unwrap().rsplit('/').next().unwrap().into();
        answer
    };
    assert_eq!(run(), run());
}
