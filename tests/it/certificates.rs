//! The certificate folder: made, kept, renewed, refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kpay_sandbox::certificates::{Certificates, check_host, open};
use kpay_sandbox::clock::wall_clock;
use kpay_sandbox::tls;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(86_400);

fn opened(folder: &Path, hosts: &[&str], now: SystemTime) -> Certificates {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    open(folder, &hosts, now).unwrap()
}

#[test]
fn the_first_run_makes_every_file_and_the_second_changes_none() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path(), &[], wall_clock());
    assert!(first.notices[0].contains("made a certificate authority"), "{:?}", first.notices);
    let content = || {
        ["ca.pem", "ca.key", "server.pem", "server-names.pem", "server.key", "bundle.pem", ".gitignore"]
            .map(|name| fs::read(folder.path().join(name)).unwrap())
    };
    let before = content();
    assert_eq!(before[6], b"*\n");
    let bundle = String::from_utf8(before[5].clone()).unwrap();
    assert!(bundle.ends_with(&*String::from_utf8_lossy(&before[0]).replace("\r\n", "\n")));
    assert!(opened(folder.path(), &[], wall_clock()).notices.is_empty());
    assert_eq!(before, content());
}

#[cfg(unix)]
#[test]
fn keys_are_their_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), &[], wall_clock());
    let key = folder.path().join("ca.key");
    let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let notices = opened(folder.path(), &[], wall_clock()).notices;
    assert!(notices[0].contains("ca.key"), "{notices:?}");
    assert_eq!(mode(), 0o600);
}

/// Returns true if a client that trusts a CA takes the server's certificates of a folder.
fn trusts(ca: &CertificateDer<'static>, found: &Certificates, host: &str) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build().unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    [&found.chain, &found.names_only]
        .into_iter()
        .filter(|chain| found.names_only != **chain || host.parse::<std::net::IpAddr>().is_err())
        .all(|chain| verifier.verify_server_cert(&chain[0], &[], &name, &[], UnixTime::now()).is_ok())
}

#[test]
fn the_names_of_a_folders_ca_only_grow_and_what_runs_already_stays_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path(), &["first.test", "10.1.2.3"], wall_clock());
    let second = opened(folder.path(), &["second.test", "fd00::5"], wall_clock());
    let notice = &second.notices[0];
    assert!(notice.contains("now covers second.test, fd00::5 too") && !notice.contains("NEW CA"), "{notice}");
    for host in ["first.test", "10.1.2.3", "pay.esicia.com", "127.0.0.1"] {
        assert!(trusts(&second.ca, &first, host), "{host}: who reads ca.pem now trusts the first sandbox");
        assert!(trusts(&second.ca, &second, host), "{host}");
    }
    assert!(trusts(&second.ca, &second, "second.test") && trusts(&second.ca, &second, "fd00::5"));
    assert!(!trusts(&first.ca, &second, "second.test"));
    let serial = |der: &CertificateDer<'_>| X509Certificate::from_der(der).unwrap().1.raw_serial().to_owned();
    assert_ne!(serial(&first.ca), serial(&second.ca), "browsers refuse a number that comes again");
    for hosts in [&["first.test"][..], &[], &["second.test"]] {
        let later = opened(folder.path(), hosts, wall_clock());
        assert!(later.notices.is_empty() && later.ca == second.ca && later.chain == second.chain, "{hosts:?}");
    }
}

#[test]
fn names_that_are_asked_for_at_once_are_all_covered() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), &[], wall_clock());
    let names: Vec<String> = (0..6).map(|number| format!("shop-{number}.test")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| opened(folder.path(), &[name], wall_clock()));
        }
    });
    let last = opened(folder.path(), &[], wall_clock());
    assert!(names.iter().all(|name| trusts(&last.ca, &last, name)));
}

#[test]
fn a_ca_covers_a_limited_number_of_names() {
    let folder = tempfile::tempdir().unwrap();
    for round in ["a", "b"] {
        let hosts: Vec<String> = (0..200).map(|number| format!("{round}{number}.test")).collect();
        let found = open(folder.path(), &hosts, wall_clock()).unwrap();
        assert!(trusts(&found.ca, &found, &hosts[199]));
        let (_, ca) = X509Certificate::from_der(&found.ca).unwrap();
        let constraints = ca.name_constraints().unwrap().unwrap().value.permitted_subtrees.as_ref().unwrap();
        assert!(constraints.len() <= 257, "{}", constraints.len());
    }
}

#[test]
fn a_folder_of_an_earlier_version_keeps_its_ca() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path(), &[], wall_clock());
    fs::remove_file(folder.path().join("server-names.pem")).unwrap();
    let later = opened(folder.path(), &[], wall_clock());
    assert!(later.ca == first.ca && later.notices[0].contains("so clients need nothing"), "{:?}", later.notices);
}

#[test]
fn a_leaf_near_its_end_is_renewed_by_the_same_ca() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path(), &[], wall_clock());
    let later = opened(folder.path(), &[], wall_clock() + DAY * 364);
    assert_eq!(first.chain, later.chain, "31 days are left");
    let renewed = opened(folder.path(), &[], wall_clock() + DAY * 366);
    assert_eq!(first.ca, renewed.ca);
    assert_ne!(first.chain, renewed.chain);
    assert!(renewed.notices[0].contains("renewed"), "{:?}", renewed.notices);
    let decade = opened(folder.path(), &[], wall_clock() + DAY * 3700);
    assert!(decade.notices[0].starts_with("NEW CA"), "{:?}", decade.notices);
}

#[test]
fn the_leaf_is_short_lived_and_the_ca_is_constrained() {
    let folder = tempfile::tempdir().unwrap();
    let found = opened(folder.path(), &["shop.test"], wall_clock());
    let (_, leaf) = X509Certificate::from_der(&found.chain[0]).unwrap();
    let life = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert!(life <= 397 * 86_400 && !leaf.is_ca());
    let (_, ca) = X509Certificate::from_der(&found.ca).unwrap();
    let constraints = ca.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::NameConstraints(constraints) => Some((extension.critical, constraints)),
        _ => None,
    });
    let (critical, constraints) = constraints.expect("name constraints");
    let permitted = constraints.permitted_subtrees.as_ref().unwrap();
    let names: Vec<&str> = permitted
        .iter()
        .filter_map(|tree| if let GeneralName::DNSName(name) = tree.base { Some(name) } else { None })
        .collect();
    assert_eq!(
        names,
        [
            "localhost",
            "pay.esicia.com",
            "pay.esicia.rw",
            "esicia.rw",
            "kpay-sandbox",
            "host.docker.internal",
            "shop.test"
        ]
    );
    assert!(critical && permitted.len() == names.len() + 3, "and the two loopback networks");
    assert_eq!(permitted.last().unwrap().base, GeneralName::RFC822Name("kpay-sandbox.invalid"), "and no e-mail");
    let usage = ca.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.any && !usage.client_auth && !usage.email_protection && !usage.code_signing);
}

#[test]
fn openssl_refuses_a_name_outside_the_constraints_and_takes_the_leaf() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), &[], wall_clock());
    let run =
        |line: &str| std::process::Command::new("sh").args(["-c", line]).current_dir(folder.path()).output().unwrap();
    assert!(run("openssl verify -CAfile ca.pem -verify_hostname localhost server.pem").status.success());
    let forged = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout x.key -subj /CN=x -out x.csr \
        && printf 'subjectAltName=DNS:example.com' > ext \
        && openssl x509 -req -in x.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out x.pem";
    assert!(run(forged).status.success());
    let verdict = run("openssl verify -CAfile ca.pem x.pem");
    assert!(!verdict.status.success());
    let words = String::from_utf8_lossy(&verdict.stderr).into_owned() + &String::from_utf8_lossy(&verdict.stdout);
    assert!(words.contains("permitted subtree violation"), "{words}");
}

#[test]
fn many_that_start_at_once_agree_on_one_ca() {
    let folder = tempfile::tempdir().unwrap();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = folder.path().to_owned();
            std::thread::spawn(move || opened(&path, &[], wall_clock()).ca)
        })
        .collect();
    let cas: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(cas.iter().all(|ca| *ca == cas[0]));
}

#[test]
fn what_is_missing_is_made_and_what_is_garbage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = opened(folder.path(), &[], wall_clock());
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    assert_eq!(opened(folder.path(), &[], wall_clock()).ca, first.ca, "a valid leaf needs no CA key");
    fs::remove_file(folder.path().join("bundle.pem")).unwrap();
    assert_eq!(opened(folder.path(), &[], wall_clock()).ca, first.ca);
    assert!(folder.path().join("bundle.pem").exists());
    fs::remove_file(folder.path().join("server.key")).unwrap();
    assert!(opened(folder.path(), &[], wall_clock()).notices[0].starts_with("NEW CA"));
    for name in ["ca.pem", "server.pem", "server.key"] {
        let kept = fs::read(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name), "garbage").unwrap();
        let error = open(folder.path(), &[], wall_clock()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("--certs"), "{error}");
        fs::write(folder.path().join(name), kept).unwrap();
    }
}

#[test]
fn somebody_elses_certificates_are_never_replaced() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    opened(ours.path(), &[], wall_clock());
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=theirs \
        -keyout server.key -out server.pem";
    let made = std::process::Command::new("sh").args(["-c", make]).current_dir(theirs.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let before = fs::read(theirs.path().join("server.key")).unwrap();
    let error = open(theirs.path(), &[], wall_clock()).unwrap_err().to_string();
    assert!(error.contains("server.pem") && error.contains("not replaced"), "{error}");
    assert_eq!(fs::read(theirs.path().join("server.key")).unwrap(), before);
}

#[test]
fn the_bundle_always_holds_the_ca() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), &[], wall_clock());
    let second = opened(folder.path(), &["shop.test"], wall_clock());
    let bundle = fs::read_to_string(&second.bundle_file).unwrap();
    assert!(bundle.ends_with(&fs::read_to_string(&second.ca_file).unwrap()));
    let system = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if system.exists() {
        let roots = rustls_native_certs::load_certs_from_paths(Some(system), None).certs;
        assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 1 + roots.len());
    }
}

#[test]
fn a_bundle_that_does_not_hold_the_systems_roots_of_today_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let found = opened(folder.path(), &[], wall_clock());
    let whole = fs::read_to_string(&found.bundle_file).unwrap();
    assert!(whole.matches("BEGIN CERTIFICATE").count() > 1, "this machine has roots");
    // It was made without them, or one was added or taken away since.
    let ca = fs::read_to_string(&found.ca_file).unwrap();
    let fewer: String = whole.split_inclusive("-----END CERTIFICATE-----\n").skip(1).collect();
    // The system's file was another then, and had fewer roots.
    let (stamp, _) = whole.split_once('\n').expect("a first line says what it was made from");
    let stamped = |stamp: &str| format!("{stamp}\n{fewer}");
    for outdated in [ca.clone(), fewer.clone(), stamped(stamp), stamped(&stamp.replace(" ns)", "0 ns)"))] {
        fs::write(&found.bundle_file, outdated).unwrap();
        let again = opened(folder.path(), &[], wall_clock());
        assert!(again.notices.is_empty(), "{:?}", again.notices);
        assert_eq!(fs::read_to_string(&found.bundle_file).unwrap(), whole);
    }
}

#[test]
fn a_host_is_a_name_or_an_address() {
    for good in ["shop.test", "a-b.example", "192.168.1.5", "::1"] {
        assert!(check_host(good).is_ok(), "{good}");
    }
    for bad in
        ["https://shop.test", "shop.test:443", "*.shop.test", "", "a b", "-a.test", "a..b", "kpay_sandbox", "1.2.3"]
    {
        assert!(check_host(bad).unwrap_err().contains("shop.test"), "{bad}");
    }
}
