//! A certificate folder with links, FIFOs and folders in it, a folder that another program holds, and wrong clocks.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kpay_sandbox::certificates::{CA_NAME, Certificates, complaint, open};
use kpay_sandbox::clock::wall_clock;
use kpay_sandbox::courier::read_roots;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree, IsCa, KeyPair,
    NameConstraints,
};

const DAY: Duration = Duration::from_secs(86_400);
const FILES: [&str; 8] =
    ["ca.pem", "ca.key", "server.pem", "server-names.pem", "server.key", "bundle.pem", ".lock", ".gitignore"];

fn opened(folder: &Path, now: SystemTime) -> Certificates {
    open(folder, &[], now).unwrap()
}

fn refused(folder: &Path, hosts: &[String], now: SystemTime) -> String {
    open(folder, hosts, now).unwrap_err().to_string()
}

/// The content and mode of each file.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>, u32)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.clone(), fs::read(&path).unwrap(), fs::metadata(&path).unwrap().permissions().mode())
        })
        .collect();
    found.sort();
    found
}

/// A folder with a file that nobody may touch.
fn outside() -> (tempfile::TempDir, PathBuf) {
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("secret");
    fs::write(&file, "somebody else's\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    (outside, file)
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Needs the lock: the server's certificate is gone.
fn needs_a_leaf(folder: &Path) {
    opened(folder, wall_clock());
    fs::remove_file(folder.join("server.pem")).unwrap();
}

#[test]
fn no_link_in_the_folder_is_followed() {
    let (outside, secret) = outside();
    let (before, dangling) = (content(outside.path()), outside.path().join("dangling"));
    for target in [&secret, &dangling] {
        for name in FILES {
            for temporary in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                needs_a_leaf(folder.path());
                let link = folder.path().join(if temporary { format!("{name}.new") } else { name.to_owned() });
                let _ = fs::remove_file(&link);
                symlink(target, &link).unwrap();
                match open(folder.path(), &[], wall_clock()) {
                    // Nobody reads it, and git takes it as it is; a temporary file is replaced.
                    Ok(_) => assert!(temporary || name == ".gitignore", "{name} {temporary}"),
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains(name) && error.contains("symbolic link"), "{error}");
                    }
                }
                assert_eq!(content(outside.path()), before, "{name} {temporary}");
            }
        }
    }
}

#[test]
fn a_link_in_place_of_a_key_that_is_not_needed_is_refused_too() {
    let (outside, secret) = outside();
    let before = content(outside.path());
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), wall_clock());
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    symlink(&secret, folder.path().join("ca.key")).unwrap();
    let error = refused(folder.path(), &[], wall_clock());
    assert!(error.contains("ca.key") && error.contains("symbolic link"), "{error}");
    assert_eq!(content(outside.path()), before);
}

#[test]
fn a_second_name_of_a_file_is_neither_written_to_nor_closed_to_others() {
    let (outside, secret) = outside();
    let before = content(outside.path());
    let folder = tempfile::tempdir().unwrap();
    needs_a_leaf(folder.path());
    fs::remove_file(folder.path().join(".lock")).unwrap();
    fs::hard_link(&secret, folder.path().join(".lock")).unwrap();
    opened(folder.path(), wall_clock());
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    fs::hard_link(&secret, folder.path().join("ca.key")).unwrap();
    let notices = opened(folder.path(), wall_clock()).notices;
    assert!(notices[0].contains("ca.key") && notices[0].contains("hard link"), "{notices:?}");
    assert_eq!(content(outside.path()), before);
}

#[test]
fn a_fifo_a_folder_or_a_huge_file_is_a_sentence() {
    for name in ["ca.pem", "ca.key", "server.pem", "server.key", "bundle.pem", ".lock"] {
        for kind in ["a regular file", "a folder", "4 MiB"] {
            let folder = tempfile::tempdir().unwrap();
            needs_a_leaf(folder.path());
            let path = folder.path().join(name);
            let _ = fs::remove_file(&path);
            match kind {
                "a folder" => fs::create_dir(&path).unwrap(),
                "4 MiB" => File::create(&path).unwrap().set_len(1 << 40).unwrap(),
                _ => make_fifo(&path),
            }
            // The lock's content is of no interest, beyond its first bytes.
            if kind != "4 MiB" || name != ".lock" {
                let error = refused(folder.path(), &[], wall_clock());
                assert!(error.contains(name) && error.contains(kind), "{name}: {error}");
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("ca.pem.new")).unwrap();
    let error = refused(folder.path(), &[], wall_clock());
    assert!(error.contains("ca.pem.new: is a folder"), "{error}");
}

#[test]
fn a_linked_folder_is_used_and_what_it_holds_of_others_is_kept() {
    let (outside, _) = outside();
    let here = tempfile::tempdir().unwrap();
    let certs = here.path().join("certs");
    symlink(outside.path(), &certs).unwrap();
    for name in ["ca.key", "server.key", "bundle.pem"] {
        fs::write(outside.path().join(name), "somebody else's\n").unwrap();
        let before = content(outside.path());
        let error = refused(&certs, &[], wall_clock());
        assert!(error.contains(name) && error.contains("--certs"), "{error}");
        let after: Vec<_> = content(outside.path()).into_iter().filter(|(path, ..)| !path.ends_with(".lock")).collect();
        assert_eq!(after, before);
        fs::remove_file(outside.path().join(name)).unwrap();
    }
    // A lock file of another program is used as one, and its content stays.
    fs::write(outside.path().join(".lock"), "another program's\n").unwrap();
    opened(&certs, wall_clock());
    assert_eq!(fs::read(outside.path().join(".lock")).unwrap(), b"another program's\n");
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"somebody else's\n");
}

/// A CA as earlier versions made it, or one that is limited to no names.
fn other_ca(folder: &Path, limited: bool) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "kpay-sandbox");
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.not_before = (wall_clock() - DAY).into();
    params.not_after = (wall_clock() + DAY * 3650).into();
    let address = |address, prefix| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix));
    let mut permitted_subtrees: Vec<_> =
        ["localhost", "pay.esicia.com", "pay.esicia.rw", "esicia.rw", "kpay-sandbox", "host.docker.internal"]
            .map(|name| GeneralSubtree::DnsName(name.into()))
            .into();
    permitted_subtrees.push(address([127, 0, 0, 0].into(), 8));
    permitted_subtrees.push(address("::1".parse().unwrap(), 128));
    if limited {
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    }
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join("ca.key"), key.serialize_pem()).unwrap();
}

#[test]
fn a_ca_of_an_earlier_version_is_kept_and_the_tighter_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    other_ca(folder.path(), true);
    let before = fs::read(folder.path().join("ca.pem")).unwrap();
    for _ in 0..2 {
        let notices = opened(folder.path(), wall_clock()).notices;
        assert!(notices.iter().any(|notice| notice.contains("e-mail") && notice.contains("ca.pem")), "{notices:?}");
        assert_eq!(fs::read(folder.path().join("ca.pem")).unwrap(), before);
    }
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    assert!(opened(folder.path(), wall_clock()).notices[0].starts_with("NEW CA"));
    assert!(opened(folder.path(), wall_clock()).notices.is_empty());
}

#[test]
fn a_ca_of_our_name_without_name_constraints_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    other_ca(folder.path(), false);
    let notices = opened(folder.path(), wall_clock()).notices;
    assert!(notices[0].starts_with("NEW CA") && notices[0].contains("every name"), "{notices:?}");
}

#[test]
fn trust_refuses_a_ca_of_somebody_else_that_can_sign_for_every_name() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    fs::write(certs.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let (names, leaf_key) = (kpay_sandbox::certificates::names(&[]), KeyPair::generate().unwrap());
    let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    fs::write(certs.join("server.pem"), leaf.pem()).unwrap();
    fs::write(certs.join("server.key"), leaf_key.serialize_pem()).unwrap();
    assert!(!opened(&certs, wall_clock()).is_limited(), "it can be served with");
    let output = program(folder.path(), &["trust", "--into", "store"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("every name"), "{error}");
    assert_eq!(fs::read_dir(folder.path().join("store")).unwrap().count(), 0);
}

#[test]
fn a_ca_that_is_not_valid_yet_is_kept_and_the_clock_is_named() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), wall_clock());
    let before = content(folder.path());
    for now in [UNIX_EPOCH, UNIX_EPOCH - DAY, wall_clock() - DAY * 3] {
        let found = opened(folder.path(), now);
        let day = jiff::Timestamp::try_from(now).unwrap().to_string()[..10].to_owned();
        assert!(found.notices[0].contains("clock says") && found.notices[0].contains(&day), "{:?}", found.notices);
        assert_eq!(content(folder.path()), before, "it serves with the files there are");
        let complaint = complaint(folder.path(), now).unwrap().unwrap();
        assert!(complaint.by_clock && complaint.why.contains("clock says"), "{complaint:?}");
        // What would need another certificate waits for a clock that is right.
        let error = refused(folder.path(), &["shop.test".into()], now);
        assert!(error.contains("clock says") && error.contains(&day), "{error}");
        fs::remove_file(folder.path().join("server.pem")).unwrap();
        assert!(refused(folder.path(), &[], now).contains("clock says"));
        fs::write(
            folder.path().join("server.pem"),
            &before.iter().find(|file| file.0.ends_with("server.pem")).unwrap().1,
        )
        .unwrap();
        assert_eq!(content(folder.path()), before);
    }
    assert!(opened(folder.path(), wall_clock()).notices.is_empty());
}

#[test]
fn a_clock_far_in_the_future_replaces_no_ca() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), wall_clock());
    let before = content(folder.path());
    let error = refused(folder.path(), &[], UNIX_EPOCH + DAY * 365 * 131);
    assert!(error.contains("clock says 2100-"), "{error}");
    assert_eq!(content(folder.path()), before);
    let error = refused(&folder.path().join("new"), &[], UNIX_EPOCH + DAY * 365 * 8000);
    assert!(error.contains("clock says 9964-") && !folder.path().join("new").exists(), "{error}");
    // Two years later than a good leaf: the CA renews it, and once the clock is right again, renews it again.
    let ca = opened(folder.path(), wall_clock() + DAY * 730).ca;
    let found = opened(folder.path(), wall_clock());
    assert!(found.ca == ca && found.notices[0].contains("renewed"), "{:?}", found.notices);
}

#[test]
fn a_first_start_with_a_clock_in_1970_makes_a_ca_that_is_good_today() {
    let folder = tempfile::tempdir().unwrap();
    let found = opened(folder.path(), UNIX_EPOCH);
    assert!(found.notices.iter().any(|notice| notice.contains("clock says 1970-01-01")), "{:?}", found.notices);
    assert_eq!(opened(folder.path(), wall_clock()).ca, found.ca);
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KPAY_SANDBOX_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).env("HOME", folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns once a process catches a signal: the mask is the system's.
fn catches(process: &Child, signal: u32) {
    let status = format!("/proc/{}/status", process.id());
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        if u64::from_str_radix(caught, 16).unwrap() & 1 << (signal - 1) != 0 {
            return;
        }
        assert!(std::time::Instant::now() < limit, "the signal is not caught");
        std::thread::yield_now();
    }
}

fn signal(process: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &process.id().to_string()]).status().unwrap().success());
}

/// Ends a process that is still there after a moment, so that a test fails instead of hanging.
fn code_within(mut process: Child, limit: Duration) -> Option<i32> {
    let until = std::time::Instant::now() + limit;
    while std::time::Instant::now() < until {
        if let Some(status) = process.try_wait().unwrap() {
            return Some(status.code().unwrap_or(-1));
        }
        std::thread::yield_now();
    }
    process.kill().unwrap();
    process.wait().unwrap();
    None
}

#[test]
#[cfg(target_os = "linux")]
fn signals_end_a_start_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("certs")).unwrap();
    let lock = File::create(folder.path().join("certs/.lock")).unwrap();
    lock.lock().unwrap();
    make_fifo(&folder.path().join("roots.pem"));
    fs::create_dir(folder.path().join("fixtures")).unwrap();
    make_fifo(&folder.path().join("fixtures/banks.json"));
    for waiting in [["--certs", "certs"], ["--postback-ca", "roots.pem"], ["--fixtures", "fixtures"]] {
        for (name, number, code) in [("-TERM", 15, 143), ("-INT", 2, 130)] {
            let exec: &[&str] = &["exec", waiting[0], waiting[1], "--", "true"];
            let serve: &[&str] = &["serve", "--listen", "127.0.0.1:0", waiting[0], waiting[1]];
            for arguments in [exec, serve] {
                let process = program(folder.path(), arguments).spawn().unwrap();
                catches(&process, number);
                signal(&process, name);
                assert_eq!(code_within(process, Duration::from_secs(5)), Some(code), "{arguments:?} {name}");
            }
        }
    }
}

#[test]
fn a_lock_that_is_not_given_back_is_named_with_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("certs")).unwrap();
    let lock = File::create(folder.path().join("certs/.lock")).unwrap();
    lock.lock().unwrap();
    fs::write(folder.path().join("certs/.lock"), "kpay-sandbox, process 4711\n").unwrap();
    let mut process = program(folder.path(), &["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let said = process.stderr.take().unwrap();
    assert_eq!(code_within(process, Duration::from_secs(30)), Some(2));
    let error = BufReader::new(said).lines().next().unwrap().unwrap();
    for part in ["certs/.lock", "kpay-sandbox, process 4711", "10 s"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn no_link_leads_what_exec_and_trust_write_elsewhere() {
    let (outside, secret) = outside();
    let before = content(outside.path());
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    opened(&certs, wall_clock());
    let run = |arguments: &[&str]| {
        let output = program(folder.path(), arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let exec = ["exec", "--certs", "certs", "--", "true"];
    fs::create_dir(certs.join("tools")).unwrap();
    for link in ["tools/php", "tools/truststore.jks", "tools"] {
        let link = certs.join(link);
        let _ = fs::remove_dir_all(&link);
        symlink(if link.ends_with("truststore.jks") { &secret } else { outside.path() }, &link).unwrap();
        let (code, error) = run(&exec);
        assert!(code == Some(2) && error.contains("symbolic link"), "{error}");
        assert_eq!(content(outside.path()), before, "{}", link.display());
        fs::remove_file(&link).unwrap();
    }
    assert_eq!(run(&exec).0, Some(0));

    fs::create_dir(folder.path().join("store")).unwrap();
    let trusted = folder.path().join("store/kpay-sandbox.crt");
    symlink(&secret, &trusted).unwrap();
    let (code, error) = run(&["trust", "--into", "store"]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(content(outside.path()), before);
    assert!(!trusted.is_symlink() && fs::read(&trusted).unwrap() == fs::read(certs.join("ca.pem")).unwrap());
}

#[test]
fn a_file_of_roots_has_a_limit_and_may_be_a_fifo() {
    let folder = tempfile::tempdir().unwrap();
    let ca = opened(folder.path(), wall_clock()).ca_file;
    let fifo = folder.path().join("fifo");
    make_fifo(&fifo);
    let writer = std::thread::spawn({
        let (ca, fifo) = (ca, fifo.clone());
        move || fs::write(fifo, fs::read(ca).unwrap()).unwrap()
    });
    assert_eq!(read_roots(&fifo).unwrap().len(), 1);
    writer.join().unwrap();
    assert!(read_roots(Path::new("/dev/zero")).unwrap_err().contains("4 MiB"));
    assert!(read_roots(folder.path()).unwrap_err().contains("directory"));
}

#[test]
fn who_holds_the_lock_is_in_it_and_is_gone_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), wall_clock());
    assert_eq!(fs::read(folder.path().join(".lock")).unwrap(), b"");
}

#[test]
fn trust_warns_where_curl_uses_a_library_that_accepts_no_limited_ca() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    let curl = folder.path().join("curl");
    for (library, warned) in [("OpenSSL/3.0.13", false), ("mbedTLS/3.6.0", true)] {
        fs::write(&curl, format!("#!/bin/sh\necho 'curl 8.5.0 libcurl/8.5.0 {library}'\n")).unwrap();
        fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
        let output = program(folder.path(), &["trust", "--into", "store"]).env("PATH", folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("mbedTLS"), warned, "{said}");
    }
}
