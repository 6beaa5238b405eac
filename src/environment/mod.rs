//! What an integration finds in its environment so that it meets the sandbox instead of KPay: credentials, trust in the
//! CA for each language, and the proxy. Used by `exec`, which sets it, and by `env`, which prints it.

mod format;
mod further;
mod merchant;
mod no_proxy;
mod truststore;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificates;
pub use format::Format;
use further::{Further, NODE, REPLACED};
pub use merchant::keep;

/// What the variables are made from.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Base URL, without a slash at its end.
    pub url: String,
    /// The port on this machine, `127.0.0.1:8443`: for the control API and as a proxy.
    pub address: String,
    /// The merchant's user.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Its `Kpay-Key`.
    pub key: String,
    /// One of its retailers.
    pub retailer: String,
    /// The CA file, from the root.
    pub ca: PathBuf,
    /// The system's roots and the CA, from the root.
    pub bundle: PathBuf,
    /// KPay's own hosts lead here.
    pub intercept: bool,
}

/// The files that the variables name.
#[derive(Debug)]
pub struct Tools {
    folder: PathBuf,
    /// The roots that replace others.
    bundle: PathBuf,
    /// The roots that Node adds to its own.
    node: PathBuf,
    /// What the user must know.
    pub notices: Vec<String>,
}

/// The password of the Java trust store: it holds nothing but public certificates.
const STOREPASS: &str = "changeit";

impl Surroundings {
    /// The variables, in the order in which they are shown. `before` tells what a variable held; what others put into a
    /// list stays in it.
    pub fn variables(&self, tools: &Tools, before: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
        let (bundle, node) = (tools.bundle.display().to_string(), tools.node.display().to_string());
        let tools = &tools.folder;
        let with = |name: &str, more: String, between: &str| match before(name).filter(|text| !text.is_empty()) {
            // Set twice, it is the same.
            Some(text) if text.contains(&more) => text,
            Some(text) => format!("{text}{between}{more}"),
            None => more,
        };
        let mut variables = vec![
            ("KPAY_BASE_URL", self.url.clone()),
            ("KPAY_URL", self.url.clone()),
            ("KPAY_API_URL", format!("{}/api/", self.url)),
            ("KPAY_USERNAME", self.username.clone()),
            ("KPAY_PASSWORD", self.password.clone()),
            ("KPAY_API_KEY", self.key.clone()),
            ("KPAY_RETAILER_ID", self.retailer.clone()),
            ("KPAY_BANK_ID", "63510".into()),
            ("KPAY_ENVIRONMENT", "sandbox".into()),
            ("KPAY_SANDBOX_URL", self.url.clone()),
            ("KPAY_SANDBOX_CONTROL", format!("http://{}", self.address)),
        ];
        variables.extend(REPLACED.map(|name| (name, bundle.clone())));
        variables.push((NODE, node));
        // PHP reads its usual folder where the list begins with nothing.
        let separator = if cfg!(windows) { ";" } else { ":" };
        let php = format!("{separator}{}", tools.join("php").display());
        variables.push(("PHP_INI_SCAN_DIR", with("PHP_INI_SCAN_DIR", php, "")));
        let mut java = format!(
            "{} -Djavax.net.ssl.trustStorePassword={STOREPASS}",
            java_word(&format!("-Djavax.net.ssl.trustStore={}", tools.join("truststore.jks").display()))
        );
        if self.intercept {
            let (host, port) = self.address.rsplit_once(':').unwrap_or((&self.address, "443"));
            java = ["https", "http"]
                .iter()
                .fold(java, |java, scheme| format!("{java} -D{scheme}.proxyHost={host} -D{scheme}.proxyPort={port}"));
        }
        variables.push(("JAVA_TOOL_OPTIONS", with("JAVA_TOOL_OPTIONS", java, " ")));
        if self.intercept {
            let proxy = format!("http://{}", self.address);
            // Some programs read one of the two, some the other.
            let no_proxy = no_proxy::without_kpay(["NO_PROXY", "no_proxy"].into_iter().filter_map(&before));
            let node = format!("--require {}", node_word(&tools.join("intercept.cjs").display().to_string()));
            variables.extend([
                ("HTTPS_PROXY", proxy.clone()),
                ("https_proxy", proxy.clone()),
                ("HTTP_PROXY", proxy.clone()),
                ("http_proxy", proxy),
                ("NO_PROXY", no_proxy.clone()),
                ("no_proxy", no_proxy),
                ("NODE_USE_ENV_PROXY", "1".into()),
                ("NODE_OPTIONS", with("NODE_OPTIONS", node, " ")),
                ("KPAY_SANDBOX_INTERCEPT", self.address.clone()),
            ]);
        }
        variables
    }

    /// Writes what the variables name: PHP's ini file, Java's trust store, Node's preload, and a bundle with the certificates
    /// that the user's own variables name.
    pub fn write_tools(&self, before: impl Fn(&str) -> Option<String>) -> io::Result<Tools> {
        let pem = certificates::read(&self.bundle).map_err(io::Error::other)?;
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", self.bundle.display()));
        let mut pem = pem.ok_or_else(missing)?;
        let mut roots: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
        let further = Further::read(before, self.ca.parent().unwrap_or(&self.ca), &roots);
        let folder = self.ca.with_file_name(further.folder());
        let php = folder.join("php");
        for folder in [&folder, &php] {
            // A cloned repository can ship links, which would lead these files elsewhere.
            if folder.is_symlink() {
                let folder = folder.display();
                return Err(io::Error::other(format!("{folder} is a symbolic link, and links are not followed")));
            }
            fs::create_dir_all(folder)?;
        }
        let (mut bundle, mut node) = (self.bundle.clone(), self.ca.clone());
        if !further.certificates.is_empty() {
            bundle = folder.join("bundle.pem");
            node.clone_from(&bundle);
            for certificate in &further.certificates {
                pem.extend(certificates::pem("CERTIFICATE", certificate).into_bytes());
            }
            write_if_new(&bundle, &pem)?;
        }
        let shown = bundle.display();
        let ini = format!("curl.cainfo=\"{shown}\"\nopenssl.cafile=\"{shown}\"\n");
        write_if_new(&php.join("kpay-sandbox.ini"), ini.as_bytes())?;
        write_if_new(&folder.join("intercept.cjs"), include_bytes!("intercept.cjs"))?;
        roots.extend(further.certificates);
        write_if_new(&folder.join("truststore.jks"), &truststore::jks(&roots, STOREPASS))?;
        Ok(Tools { folder, bundle, node, notices: further.notices })
    }
}

/// Quotes a word of `JAVA_TOOL_OPTIONS`. Java knows quotes of both kinds, and no escapes.
fn java_word(word: &str) -> String {
    if !word.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')) {
        return word.to_owned();
    }
    let parts: Vec<String> = word.split('"').map(|part| format!("\"{part}\"")).collect();
    parts.join("'\"'")
}

/// Quotes a word of `NODE_OPTIONS`, in whose quotes a backslash escapes.
fn node_word(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""))
}

/// Replaces a file as a whole, unless it has the content already: another program may be reading it.
fn write_if_new(file: &Path, content: &[u8]) -> io::Result<()> {
    if certificates::read(file).map_err(io::Error::other)?.is_some_and(|found| found == content) {
        return Ok(());
    }
    let unfinished = file.with_extension(format!("{}.new", std::process::id()));
    write_new(&unfinished, content)?;
    fs::rename(&unfinished, file)
}

/// Writes a temporary file: one left over from a crash is replaced, and no link is followed.
pub(crate) fn write_new(file: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).open(file)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_quotes_of_java_and_node() {
        assert_eq!(java_word("-Da=/plain\\path"), "-Da=/plain\\path");
        assert_eq!(java_word("-Da=/a b\\c"), "\"-Da=/a b\\c\"");
        assert_eq!(java_word("-Da=it's \"x\""), "\"-Da=it's \"'\"'\"x\"'\"'\"\"");
        assert_eq!(node_word(r#"/a b\c"d"#), r#""/a b\\c\"d""#);
    }
}
