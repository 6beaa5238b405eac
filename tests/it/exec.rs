//! `kpay-sandbox exec`: a command meets a sandbox of its own instead of KPay, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// `exec` as a user runs it, with a home of the test's own.
pub(crate) fn exec(home: &Path, options: &[&str], command: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"));
    program.current_dir(home).env("HOME", home).env_remove("XDG_DATA_HOME").arg("exec").args(options);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KPAY_") || text.to_ascii_lowercase().ends_with("_proxy") {
            program.env_remove(&name);
        }
    }
    program.arg("--").args(command);
    program
}

pub(crate) fn run(home: &Path, options: &[&str], command: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = exec(home, options, command).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A call of KPay's own address, certificate verified, as an integration makes it.
const CALL: &str = r#"curl --silent --show-error --user your_username:your_password https://pay.esicia.com/ --data '{"action":"checkstatus","refid":"none"}'"#;

#[test]
fn a_command_with_kpays_address_in_it_meets_the_sandbox_and_its_code_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let (code, out, said) = run(home.path(), &[], &["sh", "-c", CALL]);
    assert!(code == 0 && out.contains(r#""statusid":"611""#), "{code} {out} {said}");
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("certificate authority")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("kpay-sandbox: dashboard http://127.0.0.1:"), "{said}");
    let (code, out, said) =
        run(home.path(), &[], &["sh", "-c", "echo \"$KPAY_URL $KPAY_USERNAME $KPAY_ENVIRONMENT\"; exit 3"]);
    assert_eq!(code, 3);
    assert!(out.starts_with("https://127.0.0.1:") && out.ends_with(" your_username sandbox\n"), "{out}");
    assert!(said.contains("requests: 0, refused: 0"), "{said}");
    assert_eq!(run(home.path(), &[], &["no-such-command"]).0, 127);
    assert_eq!(run(home.path(), &[], &["sh", "-c", "kill -9 $$"]).0, 137);
    assert_eq!(run(home.path(), &[], &[]).0, 2);
    let (code, _, said) =
        run(home.path(), &["--intercept=false"], &["sh", "-c", "test -z \"$HTTPS_PROXY$NODE_OPTIONS\""]);
    assert_eq!(code, 0, "{said}");
    // Plain HTTP is KPay's 500, and not somebody else's affair.
    let plain = CALL.replace("https:", "http:");
    let (_, out, said) = run(home.path(), &["--isolation", "off"], &["sh", "-c", &plain]);
    assert!(out.contains(r#""retcode":500"#), "{out} {said}");
    let (_, out, said) = run(
        home.path(),
        &["--log", "text", "--ready-file", "r.json"],
        &["sh", "-c", &format!("{CALL}; cat r.json; rm r.json")],
    );
    assert!(said.contains("--> checkstatus none") && out.contains("\"pid\":"), "{out} {said}");
    let listed: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(listed, [".local"], "nothing is written among the command's files");
}

#[test]
fn a_run_reports_what_was_refused_and_flagged_and_gates_fail_on_it() {
    let home = tempfile::tempdir().unwrap();
    let live = CALL.replace("pay.esicia.com", "pay.esicia.rw");
    let (code, _, said) = run(home.path(), &[], &["sh", "-c", &live]);
    assert_eq!(code, 0);
    assert!(said.contains("1 request to pay.esicia.rw, where money is real, ended in the sandbox instead"), "{said}");
    assert!(!run(home.path(), &["--protect-live=false"], &["sh", "-c", &live]).2.contains("money is real"));

    let (code, _, said) = run(home.path(), &["--report"], &["sh", "-c", CALL]);
    assert!(
        code == 0 && said.contains("requests: 1, refused: 1") && said.contains("no transaction with this tid"),
        "{said}"
    );
    let (code, _, said) =
        run(home.path(), &["--fail-on", "refused,flagged,unmet", "--junit", "kpay.xml"], &["sh", "-c", CALL]);
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("--fail-on refused: 1 refused request\n")
            && said.contains("--fail-on unmet: 14 of 15 not covered: 0")
    );
    assert!(!said.contains("--fail-on flagged"));
    let xml = fs::read_to_string(home.path().join("kpay.xml")).unwrap();
    assert!(
        xml.contains("tests=\"15\" failures=\"15\"") && xml.contains("<failure>611 TRANSACTION_NOT_FOUND"),
        "{xml}"
    );
    let (code, _, _) = run(home.path(), &["--fail-on", "flagged", "--junit", "no/such/folder.xml"], &["true"]);
    assert_eq!(code, 2);
}

/// Pays by card at KPay's own address, and opens the page of the answer as a browser on this machine would.
const PAY_BY_CARD: &str = r#"url=$(curl --silent --user your_username:your_password https://pay.esicia.com/ --data '{"msisdn":"0783300000","email":"c@example.rw","details":"d","refid":"CARD-1","amount":5000,"cname":"J","cnumber":"C","pmethod":"cc","retailerid":"02","returl":"/","redirecturl":"/","bankid":"000"}' | sed 's/.*"url":"\([^"]*\)".*/\1/')
env -u CURL_CA_BUNDLE -u SSL_CERT_FILE curl --silent --noproxy '*' --fail --output page.html "$url" || exit 9
while ! test -s said.txt || ! grep -q 'waits for its payer' said.txt; do :; done; echo "$url""#;

#[test]
fn a_payment_that_waits_for_its_payer_is_told_with_a_link_that_any_browser_opens() {
    let home = tempfile::tempdir().unwrap();
    let mut command = exec(home.path(), &[], &["timeout", "30", "sh", "-c", PAY_BY_CARD]);
    command.stderr(fs::File::create(home.path().join("said.txt")).unwrap());
    let output = command.output().unwrap();
    let (url, said) =
        (String::from_utf8(output.stdout).unwrap(), fs::read_to_string(home.path().join("said.txt")).unwrap());
    assert_eq!(output.status.code(), Some(0), "{url} {said}");
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert!(said.contains(&format!("CARD-1 waits for its payer: {}", url.trim())), "{said}");
    assert!(fs::read_to_string(home.path().join("page.html")).unwrap().contains("CARD-1"));
}

#[test]
fn a_doctor_inside_of_exec_looks_at_its_sandbox() {
    let home = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_kpay-sandbox");
    let script = format!("\"{program}\" doctor; echo \"$KPAY_SANDBOX_CONTROL\"");
    let (_, out, said) = run(home.path(), &[], &["sh", "-c", &script]);
    let control = out.lines().last().unwrap();
    assert!(out.contains(&format!(" runs at {control}\n")), "{out} {said}");
    assert!(out.contains("kpay-sandbox/certs: the CA and its certificate are good"), "{out}");
    assert!(out.contains("curl trusts the CA") && out.contains("HTTPS_PROXY leads to the sandbox"), "{out}");
    let (_, out, _) = run(home.path(), &["--isolation", "off"], &["sh", "-c", &script]);
    assert!(out.contains("\n-      isolation: none, because --isolation off asks for it"), "{out}");
}

#[test]
fn quiet_is_quiet() {
    let home = tempfile::tempdir().unwrap();
    let live = CALL.replace("pay.esicia.com", "pay.esicia.rw");
    let (code, _, said) = run(home.path(), &["--quiet"], &["sh", "-c", &format!("{live}; exit 3")]);
    assert_eq!((code, &*said), (3, ""));
    let (code, _, said) = run(home.path(), &["--quiet", "--fail-on", "refused"], &["sh", "-c", CALL]);
    assert_eq!((code, &*said), (5, "kpay-sandbox: --fail-on refused: 1 refused request\n"));
    assert!(run(home.path(), &["--quiet", "--report"], &["sh", "-c", CALL]).2.contains("requests: 1, refused: 1"));
}

/// A request of the control API, as a test suite makes it.
const RESET: &str = r#"curl --silent --fail --output - -X POST "$KPAY_SANDBOX_CONTROL/__sandbox/api/reset""#;

#[test]
fn neither_reset_nor_a_fresh_merchant_empties_the_report() {
    let home = tempfile::tempdir().unwrap();
    let script = format!("{CALL}; {RESET}; {CALL}; {RESET}?merchant=your_username");
    let (code, _, said) = run(home.path(), &["--fail-on", "refused"], &["sh", "-c", &script]);
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("requests: 2, refused: 2") && said.contains("--fail-on refused: 2 refused requests"),
        "{said}"
    );
    assert!(said.contains("  checkstatus none and 1 more: 611"), "equal causes are one line: {said}");
}

#[test]
fn required_codes_and_scenarios_are_a_gate_that_can_pass() {
    let home = tempfile::tempdir().unwrap();
    let unknown = CALL.replace("your_username:", "nobody:");
    let script = format!("{CALL}; {unknown}");
    let require = |list: &str| run(home.path(), &["--require", list], &["sh", "-c", &script]);
    assert_eq!(require("611,600").0, 0);
    let (code, _, said) = require("611,606,decline");
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("--fail-on unmet: 2 of 3 not covered: 606, decline\n"), "{said}");
    for (wrong, told) in [
        ("699", "profile documented has no such return code. Write one of 0, 500, 401"),
        ("declin", "Did you mean \"decline\"?"),
        ("approve-at-third-try", "Write those: decline,decline,approve"),
    ] {
        let (code, out, said) = require(wrong);
        assert!(code == 2 && out.is_empty() && said.contains(told), "{wrong}: {code} {said}");
    }
}

#[test]
fn a_request_to_the_live_host_is_a_failure_if_wanted() {
    let home = tempfile::tempdir().unwrap();
    let live = CALL.replace("pay.esicia.com", "pay.esicia.rw");
    let (code, _, said) = run(home.path(), &["--fail-on", "live"], &["sh", "-c", &live]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("--fail-on live: 1 request to pay.esicia.rw, where money is real"), "{said}");
    assert_eq!(run(home.path(), &["--fail-on", "live"], &["sh", "-c", CALL]).0, 0);
}

#[test]
fn the_profile_that_would_accept_the_refused_requests_is_told_once() {
    let home = tempfile::tempdir().unwrap();
    let pay = r#"curl --silent --user your_username:your_password https://pay.esicia.com/ --data '{"msisdn":"0783300000","email":"c@example.rw","details":"d","refid":"R-1","amount":5000,"cname":"J","cnumber":"C","pmethod":"momo","retailerid":"02","returl":"/","redirecturl":"/"}'"#;
    let script = format!("{pay}; {}; {CALL}", pay.replace("R-1", "R-2"));
    let (_, _, said) = run(home.path(), &["--report"], &["sh", "-c", &script]);
    assert_eq!(said.matches("2 of 3 refusals disappear with --profile observed").count(), 1, "{said}");
    let (_, _, said) = run(home.path(), &["--report", "--profile", "observed"], &["sh", "-c", &script]);
    assert!(!said.contains("disappear"), "{said}");
}

#[test]
fn open_is_suggested_when_every_refusal_is_for_an_unknown_user() {
    let home = tempfile::tempdir().unwrap();
    let unknown = CALL.replace("your_username:", "nobody:");
    let said = |script: &str| run(home.path(), &["--report"], &["sh", "-c", script]).2;
    assert!(said(&unknown).contains("Run exec with --open"), "{}", said(&unknown));
    assert!(!said(&format!("{unknown}; {CALL}")).contains("--open, which"));
}

#[test]
fn what_others_have_put_into_a_list_stays_in_it() {
    let home = tempfile::tempdir().unwrap();
    let show = "echo \"$NO_PROXY|$NODE_OPTIONS|$PHP_INI_SCAN_DIR|$JAVA_TOOL_OPTIONS\"";
    let mut command = exec(home.path(), &[], &["sh", "-c", show]);
    command.env("NO_PROXY", "shop.local").env("NODE_OPTIONS", "--no-warnings").env("PHP_INI_SCAN_DIR", "/ini");
    let out = String::from_utf8(command.env("JAVA_TOOL_OPTIONS", "-Xmx1g").output().unwrap().stdout).unwrap();
    let parts: Vec<&str> = out.trim().split('|').collect();
    for (part, start) in parts.iter().zip(["shop.local,localhost", "--no-warnings --require ", "/ini:/", "-Xmx1g -D"]) {
        assert!(part.starts_with(start), "{part}");
    }
    let mut command = exec(home.path(), &[], &["sh", "-c", "echo \"$NO_PROXY|$no_proxy|$HTTP_PROXY\""]);
    let out = command.env("NO_PROXY", "*,.com").env("no_proxy", "shop.local").output().unwrap().stdout;
    let out = String::from_utf8(out).unwrap();
    let own = "shop.local,localhost,127.0.0.1,::1";
    assert!(out.starts_with(&format!("{own}|{own}|http://127.0.0.1:")), "{out}");
}

#[test]
fn a_run_that_no_request_reached_is_told_and_can_fail() {
    let home = tempfile::tempdir().unwrap();
    let (code, _, said) = run(home.path(), &[], &["true"]);
    assert!(
        code == 0 && said.contains("no request reached the sandbox. Check that the command makes a payment"),
        "{said}"
    );
    let (code, _, said) = run(home.path(), &["--fail-on", "unreached"], &["true"]);
    assert!(code == 5 && said.contains("--fail-on unreached: no request reached the sandbox\n"), "{said}");
    let (code, _, said) = run(home.path(), &["--fail-on", "unreached"], &["sh", "-c", CALL]);
    assert!(code == 0 && !said.contains("no request"), "{said}");
    // A client that does not trust the CA came near.
    let distrusting = format!("env -u CURL_CA_BUNDLE -u SSL_CERT_FILE {} --cacert /dev/null", CALL);
    // The sandbox may hear of it a moment later.
    let recorded = r#"curl --silent "$KPAY_SANDBOX_CONTROL/__sandbox/api/journal" | grep -q connection-failed"#;
    let script = format!("{distrusting}; i=0; until {recorded} || [ $((i+=1)) = 200 ]; do :; done; true");
    let (code, _, said) = run(home.path(), &["--fail-on", "unreached"], &["bash", "-c", &script]);
    assert!(code == 5 && said.contains("no request reached the sandbox, but a connection of 127.0.0.1: TLS"), "{said}");
    // The home page is no request to KPay, and yet it is the sandbox's.
    let visit = ["curl", "--silent", "https://pay.esicia.com/"];
    let (code, out, said) = run(home.path(), &["--fail-on", "unreached"], &visit);
    assert!(code == 0 && out.starts_with("kpay-sandbox ") && !said.contains("no request"), "{said}");
    let (_, _, said) = run(home.path(), &["--intercept=false"], &["true"]);
    assert!(said.contains("takes the address from KPAY_URL"), "{said}");
}

/// A payment that is settled after a second, and posted then to a port that nobody listens on.
const PAY: &str = r#"curl --silent --show-error --user your_username:your_password https://pay.esicia.com/ --data '{"action":"pay","msisdn":"0783300000","email":"a@b.rw","details":"order","refid":"ORDER-1","amount":5000,"cname":"Jane","cnumber":"C-1","pmethod":"momo","retailerid":"02","returl":"http://127.0.0.1:1/","redirecturl":"https://shop.example/","bankid":"63510"}'"#;

#[test]
fn payments_that_the_end_of_the_command_cuts_off_are_told_or_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let (code, _, said) = run(home.path(), &[], &["sh", "-c", PAY]);
    let told = "the command ended early: 1 payment pending, 1 postback never sent. Wait for the result in the command, or add --linger ";
    assert!(code == 0 && said.contains(told), "{said}");
    let (code, _, said) = run(home.path(), &["--linger", "10s", "--report"], &["sh", "-c", PAY]);
    assert!(code == 0 && said.contains("postbacks: 1") && !said.contains("ended early"), "{said}");
    // Nobody waits for what cannot come in time.
    let (_, _, said) = run(home.path(), &["--linger", "30s", "--scenario", "expired"], &["sh", "-c", PAY]);
    assert!(said.contains("1 payment pending, 1 postback never sent") && said.contains("--linger 30"), "{said}");
    let (_, _, said) = run(home.path(), &["--linger", "5s", "--clock", "paused"], &["sh", "-c", PAY]);
    assert!(said.contains("The clock is paused"), "{said}");
    let (_, _, said) = run(home.path(), &["--scenario", "pending"], &["sh", "-c", PAY]);
    assert!(!said.contains("ended early"), "a payer who never answers is what was asked for: {said}");
    assert_eq!(run(home.path(), &["--linger", "1h"], &["true"]).0, 2);
}

#[test]
#[cfg(target_os = "linux")]
fn at_a_terminal_a_command_uses_it_whatever_its_input_is() {
    let home = tempfile::tempdir().unwrap();
    // A command that is not in the foreground is stopped as soon as it changes the terminal.
    let command = exec(home.path(), &[], &["sh", "-c", "stty sane </dev/tty && echo changed"]);
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let quoted: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut terminal = Command::new("timeout");
    terminal.args(["--signal=KILL", "30", "script", "--quiet", "--return", "--command"]);
    terminal.arg(format!("{} </dev/null", quoted.join(" "))).arg("/dev/null").env("HOME", home.path());
    let Output { status, stdout, .. } = terminal.stdin(Stdio::null()).output().unwrap();
    let out = String::from_utf8_lossy(&stdout);
    assert!(status.success() && out.contains("changed"), "{status} {out}");
}

/// Starts a command that says its process id and that of one that it has started itself, and stays.
pub(crate) fn staying(home: &Path) -> (Child, String, String) {
    let inner = exec(home, &[], &["sh", "-c", "sleep 600 & echo $$ $!; wait"]);
    // In a session of its own, so that no terminal has a say, where somebody tests at one.
    let mut command = Command::new("setsid");
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(home);
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (command, started) = line.trim().split_once(' ').unwrap();
    (child, command.to_owned(), started.to_owned())
}

pub(crate) fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

/// Returns once a process is gone, but for its name in the table.
pub(crate) fn gone(pid: &str) {
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn ending_either_ends_both_and_all_that_was_started() {
    let home = tempfile::tempdir().unwrap();
    // A signal is passed on, and what the command makes of it is the code. The terminal's end is such a signal; nobody
    // can pass the last one on: there the system ends the command.
    for (signal, code) in [("-TERM", Some(143)), ("-HUP", Some(129)), ("-INT", Some(130)), ("-KILL", None)] {
        let (mut both, command, started) = staying(home.path());
        kill(signal, &both.id().to_string());
        assert_eq!(both.wait().unwrap().code(), code, "{signal}");
        gone(&command);
        gone(&started);
    }
    // The command is ended: so is the sandbox, and what the command has left behind.
    let (mut both, command, started) = staying(home.path());
    kill("-KILL", &command);
    assert_eq!(both.wait().unwrap().code(), Some(137));
    gone(&started);
}

#[test]
fn a_request_to_a_wrong_path_is_reported_and_fails_the_gate() {
    let home = tempfile::tempdir().unwrap();
    let call = "curl --silent --user your_username:your_password https://pay.esicia.com/api/pay --data '{}'";
    let (code, out, said) = run(home.path(), &["--fail-on", "refused"], &["sh", "-c", call]);
    assert!(code == 5 && out.contains("KPay has no path '/api/pay'"), "{code} {out} {said}");
    assert!(said.contains("POST /api/pay") && said.contains("POST the JSON with \"action\":\"pay\""), "{said}");
    assert!(said.contains("--fail-on refused: 1 refused request\n"), "{said}");
}
