//! Why there is no certificate to serve with, as sentences.

use std::io;
use std::path::{Path, PathBuf};

/// A path from the root: a relative one says little in the log of a service.
fn shown(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Make room there",
        io::ErrorKind::ReadOnlyFilesystem => "Mount it so that it can be written",
        _ => "Make it accessible to this user",
    }
}

/// An error that leaves the sandbox without a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or the folder cannot be read or written.
    #[error("{}: {error}. {}, or choose another folder with --certs", shown(.path), remedy(.error))]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file holds what it should not.
    #[error("{}: {what}; delete it to have it made again, or choose another folder with --certs", .path.display())]
    Content {
        /// The file or the folder.
        path: PathBuf,
        /// The fault, in words that follow the path.
        what: &'static str,
    },
    /// A file is somebody else's certificate, which is not replaced.
    #[error("{} is not a certificate of kpay-sandbox's, so it is not replaced; choose another folder with --certs", .0.display())]
    Foreign(PathBuf),
    /// A key or a bundle has no certificate of ours beside it, so it is not replaced.
    #[error("{} has no certificate of kpay-sandbox beside it, so it is not replaced. Choose another folder with --certs, or delete it", .0.display())]
    Unknown(PathBuf),
    /// Another program holds the folder's lock.
    #[error("{} has been held for 10 s by {holder}. End that program, or choose another folder with --certs", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The program.
        holder: String,
    },
    /// The CA would be replaced only because of a clock that is probably wrong.
    #[error("{}: {doubt}. Set the clock; if it is right, delete the file to have a new CA made", .path.display())]
    Clock {
        /// The CA's file.
        path: PathBuf,
        /// The clock's time and the CA's dates.
        doubt: String,
    },
    /// No certificate can be dated by this clock.
    #[error("this machine's clock says {0}, which is beyond what certificates can be made for. Set the clock")]
    FarFuture(String),
    /// A host cannot stand in a certificate.
    #[error("{0}")]
    Host(String),
    /// The library refuses to make a certificate.
    #[error("{}: no certificate could be made for it ({error}); choose other hosts", .path.display())]
    Making {
        /// The folder.
        path: PathBuf,
        /// The library's error.
        error: rcgen::Error,
    },
}
