//! The environment that `exec` gives its command: what the user had set stays, and every way of Node leads to the sandbox.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::exec::{exec, run};

/// Runs a command in an environment with more variables.
fn run_with(home: &Path, variables: &[(&str, &str)], options: &[&str], script: &str) -> (String, String) {
    let mut command = exec(home, options, &["sh", "-c", script]);
    let Output { status, stdout, stderr } = command.envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{said}");
    (String::from_utf8(stdout).unwrap(), said)
}

fn certificates(pem: &str) -> usize {
    pem.matches("BEGIN CERTIFICATE").count()
}

#[test]
fn every_way_of_node_leads_to_the_sandbox_also_from_a_folder_with_a_blank_and_a_backslash() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("a b\\c \"d\"");
    fs::create_dir(&home).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/ways.cjs");
    let (code, out, said) = run(&home, &["--isolation", "off"], &["node", script]);
    assert_eq!(code, 0, "{out} {said}");
    assert!(out.lines().count() > 15, "{out} {said}");
    for line in out.lines() {
        let (way, result) = line.rsplit_once(": ").unwrap();
        let expected = match way {
            "another sandbox" => "ECONNREFUSED",
            "asked of the proxy" => "0",
            _ => "200",
        };
        assert_eq!(result, expected, "{way}: {out} {said}");
    }
}

#[test]
fn the_certificates_that_the_user_trusts_are_in_the_bundle_that_replaces_them() {
    let home = tempfile::tempdir().unwrap();
    let pem = |name: &str| {
        let file = home.path().join(name);
        let made = rcgen::generate_simple_self_signed(vec!["corporate.test".to_owned()]).unwrap();
        fs::write(&file, made.cert.pem()).unwrap();
        (file.display().to_string(), made.cert.pem().replace("\r\n", "\n"))
    };
    let ((one, first), (two, second)) = (pem("one.pem"), pem("two.pem"));
    let variables = [("SSL_CERT_FILE", &*one), ("REQUESTS_CA_BUNDLE", &*one), ("NODE_EXTRA_CA_CERTS", &*two)];
    let show = "cat \"$SSL_CERT_FILE\"; echo; echo \"$SSL_CERT_FILE $CURL_CA_BUNDLE $NODE_EXTRA_CA_CERTS\"";
    let (plain, _) = run_with(home.path(), &[], &[], show);
    let (bundle, said) = run_with(home.path(), &variables, &[], show);
    assert!(bundle.contains(&first) && bundle.contains(&second), "{said}");
    assert_eq!(certificates(&bundle), certificates(&plain) + 2, "the system's roots and the CA are there too");
    let names: Vec<&str> = bundle.lines().last().unwrap().split(' ').collect();
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    // Another environment has files of its own, and none replaces the other's.
    assert!(!plain.contains(&first) && plain.lines().last().unwrap().ends_with("/ca.pem"));
    // One exec inside another keeps them, and in the same files.
    let inner = format!("{} exec -- sh -c '{show}'", env!("CARGO_BIN_EXE_kpay-sandbox"));
    assert_eq!(run_with(home.path(), &variables, &[], &inner).0, bundle);
    // What changes in them, changes in the bundle.
    fs::write(&one, &second).unwrap();
    let (changed, _) = run_with(home.path(), &variables, &[], show);
    assert!(!changed.contains(&first) && changed.contains(&second));
    for (file, why) in [("/no/such.pem", "cannot be read"), ("/dev/null", "is not a file of at most 4 MiB")] {
        let (_, said) = run_with(home.path(), &[("CURL_CA_BUNDLE", file)], &[], "true");
        assert!(said.contains(&format!("CURL_CA_BUNDLE: {file} {why}")), "{said}");
    }
}

/// A proxy that answers each request itself; returns its port, and on the end of `requests` connections their heads.
fn proxy(requests: usize) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let head = |stream: &mut std::net::TcpStream| {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    };
    let serve = move || {
        let mut heads = Vec::new();
        for _ in 0..requests {
            let mut stream = listener.accept().unwrap().0;
            heads.push(head(&mut stream));
            if heads.last().unwrap().starts_with("CONNECT ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                heads.push(head(&mut stream));
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").unwrap();
        }
        heads
    };
    (port, std::thread::spawn(serve))
}

#[test]
fn a_proxy_that_the_user_has_is_used_for_other_hosts_with_its_credentials() {
    let home = tempfile::tempdir().unwrap();
    let (port, heads) = proxy(2);
    let address = format!("http://me:s%40cret-word@127.0.0.1:{port}");
    let variables = [("HTTPS_PROXY", &*address), ("http_proxy", &*address), ("NO_PROXY", "excepted.invalid")];
    let script = "curl --silent --proxytunnel http://other.invalid:81/x; curl --silent http://other.invalid/y?z=1; \
        curl --silent --write-out '%{http_code}' --proxy \"$HTTPS_PROXY\" --noproxy '' http://excepted.invalid/; \
        curl --silent --user your_username:your_password https://pay.esicia.com/ --data '{\"action\":\"checkstatus\",\"refid\":\"none\"}'";
    let (out, said) = run_with(home.path(), &variables, &["--report"], script);
    let [tunnel, inside, plain] = &heads.join().unwrap()[..] else { panic!("three heads: {said}") };
    // me:s@cret-word
    let authorization = "\r\nProxy-Authorization: Basic bWU6c0BjcmV0LXdvcmQ=\r\n";
    assert!(tunnel.starts_with("CONNECT other.invalid:81 HTTP/1.1\r\n") && tunnel.contains(authorization), "{tunnel}");
    assert!(inside.starts_with("GET /x HTTP/1.1\r\n") && !inside.contains("Basic"), "{inside}");
    assert!(plain.starts_with("GET http://other.invalid/y?z=1 HTTP/1.1\r\n"), "{plain}");
    assert!(plain.to_ascii_lowercase().contains(&authorization.to_ascii_lowercase()), "{plain}");
    assert!(out.starts_with("hellohello") && out.contains("502"), "a host that is excepted is asked directly: {out}");
    assert!(out.contains(r#""statusid":"611""#), "KPay's are the sandbox's: {out} {said}");
    assert!(!said.contains("cret-word") && !said.contains("bWU6"), "{said}");
    let (_, said) = run_with(home.path(), &[("ALL_PROXY", "socks5://me:s3cret@127.0.0.1:1")], &[], "true");
    assert!(said.contains("ALL_PROXY is not an http:// proxy") && !said.contains("s3cret"), "{said}");
}

#[test]
fn the_merchants_variables_of_the_user_are_kept_or_the_user_is_told() {
    let home = tempfile::tempdir().unwrap();
    let variables = [("KPAY_RETAILER_ID", "77"), ("KPAY_USERNAME", "me"), ("KPAY_PASSWORD", "mine")];
    let show = "echo $KPAY_RETAILER_ID $KPAY_USERNAME $KPAY_PASSWORD";
    let (out, said) = run_with(home.path(), &variables, &[], show);
    assert_eq!(out, "77 your_username your_password\n");
    assert!(said.contains("KPAY_USERNAME, KPAY_PASSWORD of your environment"), "{said}");
    let (out, said) = run_with(home.path(), &variables, &["--open"], show);
    assert_eq!(out, "77 me mine\n");
    assert!(!said.contains("of your environment"), "{said}");
}

#[test]
fn the_exchange_rates_that_kpays_plugins_ask_for_come_from_a_fixture() {
    let home = tempfile::tempdir().unwrap();
    let script = "curl --silent 'https://esicia.rw/fx/?curr=USD'; echo; curl --silent 'https://esicia.rw/fx/?curr=XXX'";
    let (out, said) = run_with(home.path(), &[], &["--isolation", "off", "--fail-on", "refused"], script);
    let expected = [
        r#"{"lastmodified":"2026-01-30 10:15:04","fx":{"date":"2026-01-30","name":"USD","buy":"1,440.945000","sell":"1,470.055000","middle":"1,455.500000"}}"#,
        r#"{"lastmodified":"2026-01-30 10:15:04","fx":null}"#,
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected, "{said}");
}
