//! New inputs out of known ones.

use std::fs;
use std::path::Path;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Words that mean something somewhere.
const WORDS: &[&str] = &[
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "[]",
    "{}",
    "[[[[",
    "{\"a\":",
    ",",
    ":",
    "-1",
    "0",
    "1e999",
    "0.001",
    "999999999999999999999",
    "18446744073709551616",
    "\r\n",
    "\r\n\r\n",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "é",
    "%00",
    "%2e%2e/",
    "../",
    "<script>",
    "{{",
    "${refid}",
    "\"action\":\"checkstatus\"",
    "\"refid\":",
    "\"steps\":[]",
    "\"count\":4294967295",
    "\"after\":\"99999h\"",
    "chunked",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "http://",
    "https://",
    "javascript:",
    "@",
    "[::1]",
    ":65536",
    "?",
    "#",
    "Basic ",
    "CONNECT pay.esicia.com:443 HTTP/1.1\r\n\r\n",
    "Host: h\r\n",
    "=",
    "&",
];

/// The files of `fuzz/corpus/TARGET`.
pub(crate) struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    pub(crate) fn read(target: &str) -> Corpus {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<_> = files.map(|file| file.expect("it is listed").path()).collect();
        // The same seed means the same inputs, in whatever order a file system lists them.
        files.sort();
        Corpus(files.iter().map(|file| fs::read(file).expect("it can be read")).collect())
    }

    /// One of them as it is.
    pub(crate) fn any(&self, random: &mut ChaCha8Rng) -> &[u8] {
        &self.0[random.random_range(0..self.0.len())]
    }

    /// One of them, changed a little.
    pub(crate) fn next(&self, random: &mut ChaCha8Rng) -> Vec<u8> {
        let mut input = self.0[random.random_range(0..self.0.len())].clone();
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..=input.len());
            let end = random.random_range(at..=input.len().min(at + 64));
            match random.random_range(0..7) {
                0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
                1 => input.insert(at, random.random()),
                2 => drop(input.drain(at..end)),
                3 => {
                    let copy = input[at..end].to_vec();
                    input.splice(at..at, copy.repeat(random.random_range(1..20)));
                }
                4 | 5 => {
                    let word = WORDS[random.random_range(0..WORDS.len())];
                    let end = if random.random_bool(0.5) { at } else { end };
                    input.splice(at..end, word.bytes());
                }
                _ => {
                    let other = &self.0[random.random_range(0..self.0.len())];
                    let from = random.random_range(0..=other.len());
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input
    }
}
