//! The trusted root certificates that the user's own variables name. What replaces those variables has them too.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

use crate::certificates;

/// The variables whose value the bundle replaces.
pub(super) const REPLACED: [&str; 5] =
    ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE"];
/// Node's variable, whose value adds to the roots that Node has.
pub(super) const NODE: &str = "NODE_EXTRA_CA_CERTS";
/// The folder of the tools, without certificates of the user's own.
const FOLDER: &str = "tools";
/// The largest file that is read.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Certificates from the files and folders that variables name.
#[derive(Debug, Default)]
pub(super) struct Further {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// The files and folders, also those that could not be read.
    paths: Vec<PathBuf>,
    /// The tools' folder of a command around this one, whose bundle was read.
    around: Option<String>,
    pub(super) notices: Vec<String>,
}

impl Further {
    /// Reads what the variables name. `own` is the folder of the sandbox's certificates, and `known` is in its bundle.
    pub(super) fn read(before: impl Fn(&str) -> Option<String>, own: &Path, known: &[CertificateDer<'_>]) -> Further {
        let mut further = Further::default();
        for name in REPLACED.into_iter().chain([NODE]) {
            let value = before(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            let Some(path) = value.filter(|path| !further.paths.contains(path)) else { continue };
            if let Ok(within) = path.strip_prefix(own) {
                let folder = within.parent().and_then(Path::to_str).filter(|folder| folder.starts_with(FOLDER));
                let Some(folder) = folder.filter(|folder| *folder != FOLDER) else { continue };
                further.around = Some(folder.to_owned());
            }
            match load(&path) {
                Ok(found) => further.certificates.extend(found),
                Err(why) => further
                    .notices
                    .push(format!("{name}: {} {why}, so the command does not trust its certificates", path.display())),
            }
            further.paths.push(path);
        }
        // A CA of another sandbox, around this one, would be trusted for the same names.
        further.certificates.retain(|one| !certificates::is_ours(one) && !known.contains(one));
        further.certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        further.certificates.dedup();
        further
    }

    /// Returns the name of the tools' folder: one for each environment, so that commands which run at once do not
    /// replace each other's files.
    pub(super) fn folder(&self) -> String {
        match &self.around {
            _ if self.certificates.is_empty() => return FOLDER.into(),
            Some(around) if self.paths.len() == 1 => return around.clone(),
            _ => {}
        }
        let paths: Vec<u8> =
            self.paths.iter().flat_map(|path| [path.as_os_str().as_encoded_bytes(), b"\0"].concat()).collect();
        let hash = digest(&SHA256, &paths);
        let start: String = hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("{FOLDER}-{start}")
    }
}

fn load(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be read ({error})"))?;
    let found = if metadata.is_dir() {
        rustls_native_certs::load_certs_from_paths(None, Some(path))
    } else if metadata.is_file() && metadata.len() <= LIMIT {
        rustls_native_certs::load_certs_from_paths(Some(path), None)
    } else {
        return Err("is not a file of at most 4 MiB".into());
    };
    if found.certs.is_empty() { Err("has no certificate in PEM".into()) } else { Ok(found.certs) }
}
