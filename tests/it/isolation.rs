//! `kpay-sandbox exec` with a private view of the machine: clients that ignore proxies meet the sandbox as well.
//!
//! No test reaches a real KPay if the view is broken: its curl may use the loopback device only.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::exec::{exec, gone, kill, run, staying};

/// A client that ignores proxies and variables, and trusts what the system trusts.
const DIRECT: &str = "env -i PATH=\"$PATH\" curl --silent --show-error --interface lo --user your_username:your_password --data '{\"action\":\"checkstatus\",\"refid\":\"none\"}'";

/// Returns true if this user can have the private view with its ports. Tests that need it are skipped otherwise, but not
/// in CI.
fn has_full_view(home: &Path) -> bool {
    let (code, _, said) = run(home, &["--isolation", "require"], &["true"]);
    assert!(code == 0 || std::env::var_os("CI").is_none(), "{said}");
    if code != 0 {
        eprintln!("SKIPPED: no private view here: {said}");
    }
    code == 0
}

#[test]
fn a_client_that_ignores_proxies_meets_the_sandbox() {
    let home = tempfile::tempdir().unwrap();
    if !has_full_view(home.path()) {
        return;
    }
    let outside = fs::read("/etc/hosts").unwrap();
    for name in ["pay.esicia.com", "pay.esicia.rw", "pay.esicia.com.", "PAY.ESICIA.COM", "Pay.Esicia.Rw."] {
        let (_, out, said) = run(home.path(), &["--report"], &["sh", "-c", &format!("{DIRECT} https://{name}/")]);
        assert!(out.contains(r#""statusid":"611""#), "{name}: {out} {said}");
        assert!(said.contains("isolation: full, KPay's hosts lead to 127."), "{said}");
    }
    let (_, out, said) = run(home.path(), &[], &["sh", "-c", &format!("{DIRECT} http://pay.esicia.com/")]);
    assert!(out.contains(r#""retcode":500"#), "{out} {said}");
    // This asks for IPv6 addresses first, which lead there too. Other names lead where they did.
    let ask = "getent hosts pay.esicia.com; getent hosts localhost";
    let (_, out, _) = run(home.path(), &[], &["sh", "-c", ask]);
    assert!(out.starts_with("::ffff:127.") && out.contains("localhost"), "{out}");
    let (_, out, _) = run(home.path(), &["--isolation", "off", "--report"], &["cat", "/etc/hosts"]);
    assert_eq!(out.as_bytes(), outside);
    assert_eq!(fs::read("/etc/hosts").unwrap(), outside);
}

#[test]
fn each_exec_has_an_address_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    if !has_full_view(home.path()) {
        return;
    }
    let call = format!("{DIRECT} https://pay.esicia.com/ && getent ahostsv4 pay.esicia.com && read line");
    let spawn = |_| {
        let mut command = exec(home.path(), &[], &["sh", "-c", &call]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..4).map(spawn).collect();
    let addresses = all.into_iter().map(|child| {
        // All of them run until their inputs end here, one after the other.
        let Output { status, stdout, .. } = child.wait_with_output().unwrap();
        assert!(status.code().is_some_and(|code| code <= 1), "{status}");
        let out = String::from_utf8(stdout).unwrap();
        out.split_once("not found\"}").unwrap().1.split_whitespace().next().unwrap().to_owned()
    });
    assert_eq!(addresses.collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn nothing_is_left_of_a_view_when_exec_is_killed() {
    let home = tempfile::tempdir().unwrap();
    if !has_full_view(home.path()) {
        return;
    }
    let (mut both, command, started) = staying(home.path());
    let mounts = |pid: &str| fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    assert!(mounts(&command).contains("kpay-sandbox /etc/hosts"), "{}", mounts(&command));
    assert!(!mounts("self").contains("kpay-sandbox"), "nobody else sees it");
    kill("-KILL", &both.id().to_string());
    both.wait().unwrap();
    gone(&command);
    gone(&started);
    assert!(!mounts("self").contains("kpay-sandbox"));
}

#[test]
fn a_file_of_roots_of_a_program_has_the_ca_in_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("cacert.pem");
    let system = "/etc/ssl/certs/ca-certificates.crt";
    fs::write(&file, "# roots of a program").unwrap();
    let refused = |options: &[&str], part: &str| {
        let (code, _, said) = run(home.path(), options, &["true"]);
        assert!(code == 2 && said.contains(part), "{code} {said}");
    };
    refused(&["--trust-file", "missing.pem"], "missing.pem is not a file");
    refused(&["--trust-file", "cacert.pem", "--isolation", "off"], "needs the private view");
    refused(&["--isolation", "require", "--intercept=false"], "--intercept=false");
    if !has_full_view(home.path()) {
        return;
    }
    std::os::unix::fs::symlink("cacert.pem", home.path().join("link.pem")).unwrap();
    let call = format!("cat cacert.pem; {DIRECT} --cacert cacert.pem https://pay.esicia.com/");
    for name in ["cacert.pem", "link.pem"] {
        let (_, out, said) = run(home.path(), &["--trust-file", name], &["sh", "-c", &call]);
        assert!(out.starts_with("# roots of a program\n-----BEGIN CERTIFICATE-----\n"), "{out}");
        assert!(out.contains(r#""statusid":"611""#), "{out} {said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "# roots of a program");
    assert!(!Path::new(system).exists() || !fs::read_to_string(system).unwrap().contains("kpay-sandbox"));
}

/// The program as a user of this machine without privileges, who has a folder of their own.
fn as_nobody(home: &Path, options: &str, command: &str) -> (i32, String) {
    fs::set_permissions(home, fs::Permissions::from_mode(0o777)).unwrap();
    let program = home.join("kpay-sandbox");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_kpay-sandbox"), &program).unwrap();
    }
    let user = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let script =
        format!("{user} env -u XDG_DATA_HOME HOME={0} {0}/kpay-sandbox exec {options} -- {command}", home.display());
    let Output { status, stdout, stderr } =
        Command::new("sh").args(["-c", &script]).current_dir(home).output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn without_ports_kpays_hosts_lead_nowhere() {
    let (home, of_root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let starts = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root || starts.trim() != "1024" || !has_full_view(of_root.path()) {
        eprintln!("SKIPPED: this needs root, which becomes another user");
        return;
    }
    let (code, said) = as_nobody(home.path(), "", &format!("{DIRECT} https://pay.esicia.com/"));
    assert!(
        code == 7 && said.contains("isolation: closed") && said.contains("ip_unprivileged_port_start=80"),
        "{code} {said}"
    );
    let proxied = "curl --silent --user your_username:your_password https://pay.esicia.com/ --data {}";
    let (code, said) = as_nobody(home.path(), "", proxied);
    assert!(code == 0 && said.contains("\"retcode\":603"), "{code} {said}");
    let (code, said) = as_nobody(home.path(), "--isolation require", "true");
    assert!(code == 2 && said.contains("--isolation require: this user may not listen"), "{code} {said}");
    // They stay who they are, and their files theirs.
    let (_, said) = as_nobody(home.path(), "", "sh -c 'id -u; touch mine; stat -c %u:%g mine'");
    assert!(said.contains("65534\n") && said.contains("65534:65534"), "{said}");
}

#[test]
fn a_machine_that_forbids_private_views_is_told_of() {
    let home = tempfile::tempdir().unwrap();
    let forbidden = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set -all \"$@\"";
    let unprivileged = |options: &[&str], command: &[&str]| {
        let inner = exec(home.path(), options, command);
        let mut outer = Command::new("unshare");
        outer.args(["--user", "--map-root-user", "sh", "-c", forbidden, "sh"]).arg(inner.get_program());
        outer.args(inner.get_args()).current_dir(home.path()).env("HOME", home.path());
        let Output { status, stdout, stderr } = outer.output().unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    };
    if !Command::new("unshare").args(["--user", "--map-root-user", "true"]).status().unwrap().success() {
        eprintln!("SKIPPED: this needs user namespaces");
        return;
    }
    let proxied = "curl --silent --user your_username:your_password https://pay.esicia.com/ --data {}";
    let (code, said) = unprivileged(&[], &["sh", "-c", proxied]);
    assert!(code == 0 && said.contains("\"retcode\":603"), "{code} {said}");
    assert!(said.contains("isolation: none, because") && said.contains("They reach the real KPay"), "{said}");
    let (code, said) = unprivileged(&["--isolation", "require"], &["true"]);
    assert!(code == 2 && said.contains("--isolation require: this user may not make"), "{code} {said}");
    fs::write(home.path().join("roots.pem"), "").unwrap();
    let (_, said) = unprivileged(&["--trust-file", "roots.pem"], &["true"]);
    assert!(said.contains("--trust-file roots.pem has no effect"), "{said}");
    let (_, said) = unprivileged(&["--isolation", "off"], &["true"]);
    assert!(said.contains("isolation: none. Clients that ignore HTTPS_PROXY reach the real KPay"), "{said}");
}
