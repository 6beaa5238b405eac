//! `kpay-sandbox hosts`: the file is replaced as a whole, or stays as it is.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

const LINE: &str = "127.0.0.1 pay.esicia.rw pay.esicia.com esicia.rw # kpay-sandbox\n";
const OWN: &str = "127.0.0.1 localhost\n";

fn write(folder: &Path, arguments: &str) -> (i32, String) {
    // The shell sets limits that a test cannot set for a child otherwise.
    let line = format!("{arguments} \"$0\" hosts --write --file hosts");
    let mut command = Command::new("sh");
    command.args(["-c", &line, env!("CARGO_BIN_EXE_kpay-sandbox")]).current_dir(folder);
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(stderr).unwrap())
}

/// The names in a folder.
fn listed(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn another_file_takes_its_place_with_the_same_mode() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    fs::write(&file, OWN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    let before = fs::metadata(&file).unwrap();
    assert_eq!(write(folder.path(), "").0, 0);
    let after = fs::metadata(&file).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{LINE}{OWN}"));
    assert_ne!(after.ino(), before.ino(), "a reader of the old file has all of it");
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!(listed(folder.path()), ["hosts"]);
}

#[test]
fn a_link_stays_one_and_a_file_with_two_names_stays_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, second) = (folder.path().join("hosts"), folder.path().join("second"));
    fs::create_dir(folder.path().join("store")).unwrap();
    fs::write(folder.path().join("store/real"), OWN).unwrap();
    symlink("store/real", &file).unwrap();
    assert_eq!(write(folder.path(), "").0, 0);
    assert!(file.is_symlink());
    assert_eq!(fs::read_to_string(folder.path().join("store/real")).unwrap(), format!("{LINE}{OWN}"));
    assert_eq!(listed(&folder.path().join("store")), ["real"]);

    fs::remove_file(&file).unwrap();
    fs::write(&second, OWN).unwrap();
    fs::hard_link(&second, &file).unwrap();
    assert_eq!(write(folder.path(), "").0, 0);
    assert_eq!(fs::read_to_string(&second).unwrap(), format!("{LINE}{OWN}"));
    assert_eq!(listed(folder.path()), ["hosts", "second", "store"]);
}

#[test]
fn too_little_room_leaves_the_file_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    // Beside it and in place, which is what a second name asks for. The limit is in blocks of 512 bytes.
    for second in [false, true] {
        let own = format!("{}\n{OWN}", "#".repeat(1000));
        fs::write(&file, &own).unwrap();
        if second {
            fs::hard_link(&file, folder.path().join("second")).unwrap();
        }
        let (code, error) = write(folder.path(), "trap '' XFSZ; ulimit -f 2;");
        assert_eq!(code, 1, "{error}");
        assert!(error.contains("hosts: cannot be written") && error.contains("unchanged"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), own);
        assert_eq!(listed(folder.path()).len(), 1 + usize::from(second));
    }
}

#[test]
fn comments_in_any_encoding_stay_and_what_is_no_file_is_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    fs::write(&file, b"# caf\xe9\n").unwrap();
    assert_eq!(write(folder.path(), "").0, 0);
    assert_eq!(fs::read(&file).unwrap(), [LINE.as_bytes(), b"# caf\xe9\n"].concat());
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let (code, error) = write(folder.path(), "");
    assert!(code == 1 && error.contains("not a regular file"), "{error}");
}
