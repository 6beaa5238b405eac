//! Rules about the source itself.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn the_core_is_pure() {
    for (file, text) in sources("src/gateway") {
        for word in [
            "tokio",
            "hyper",
            "rustls",
            "std::net::Tcp",
            "std::fs",
            "std::io",
            "std::env",
            "Instant",
            "SystemTime",
            "async fn",
            "crate::",
            "println!",
        ] {
            assert!(!text.contains(word), "{} holds {word}", file.display());
        }
    }
}

#[test]
fn hyper_stays_at_the_edge() {
    for (file, text) in sources("src") {
        let edge =
            ["server.rs", "server/body.rs", "server/forward.rs", "outgoing/tests.rs", "courier.rs", "remote/client.rs"]
                .iter()
                .any(|name| file.ends_with(name));
        assert!(edge || !text.contains("hyper::"), "{} uses hyper", file.display());
    }
}

#[test]
fn kpays_field_names_stand_in_wire_only() {
    for (file, text) in sources("src/gateway") {
        if file.parent().is_some_and(|folder| folder.ends_with("wire")) {
            continue;
        }
        for name in ["\"msisdn\"", "\"retcode\"", "\"momtransactionid\"", "\"payaccount\"", "\"statusdesc\""] {
            assert!(!text.contains(name), "{} holds {name}", file.display());
        }
    }
}

#[test]
fn each_file_says_what_it_owns_and_stays_readable() {
    for (file, text) in sources("src") {
        assert!(text.starts_with("//! "), "{} does not open with what it owns", file.display());
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines: which noun is missing?", file.display());
    }
}

#[test]
fn no_test_sleeps() {
    for (file, text) in sources("tests") {
        assert!(file.ends_with("tidy.rs") || !text.contains("sleep("), "{} sleeps", file.display());
    }
}
