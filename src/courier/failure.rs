//! Why a postback got no answer, from the errors of the libraries.

use std::error::Error;
use std::io;

use http::Uri;

use super::connector::OwnAddress;
use super::origin;
use super::resolver::UnknownName;
use crate::gateway::postback::Failure;

/// Sorts an error by its innermost cause, which is the one that tells a developer something.
pub(super) fn failure(error: &(dyn Error + 'static), connecting: bool, uri: &Uri) -> Failure {
    let causes = causes(error);
    let (scheme, origin) = (uri.scheme_str().unwrap_or_default(), origin(uri));
    if let Some(tls) = causes.iter().find_map(|error| error.downcast_ref()) {
        return Failure::Tls(tls_sentence(tls, &origin));
    }
    if causes.iter().any(|error| error.is::<OwnAddress>()) {
        return Failure::BadTarget(format!("{origin} is this sandbox itself: write the address of your own listener"));
    }
    if causes.iter().any(|error| error.is::<UnknownName>()) {
        let name = uri.host().unwrap_or_default();
        return Failure::Unreachable(format!(
            "the name {name} is not found. Send its postbacks to your listener: --postback-to {origin}=http://localhost:3000"
        ));
    }
    let kind = causes.iter().rev().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    let innermost = causes.last().map(ToString::to_string).unwrap_or_default();
    match kind {
        _ if !connecting && innermost.starts_with("invalid HTTP") && scheme == "http" => {
            Failure::Broken(format!("{origin}: {innermost}. If it speaks TLS, write https:// in returl"))
        }
        _ if !connecting => Failure::Broken(format!("{origin}: {innermost}")),
        Some(io::ErrorKind::ConnectionRefused) => {
            Failure::Unreachable(format!("connection refused by {origin}: is your listener running?"))
        }
        // Connected, and then hung up on: a handshake that was not wanted.
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) if scheme == "https" => {
            Failure::Tls(format!(
                "{origin} hung up during the handshake: {innermost}. If it speaks plain HTTP, write http:// in returl"
            ))
        }
        _ => Failure::Unreachable(format!("{origin}: {innermost}")),
    }
}

/// Returns an error and its causes, the innermost one last.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error)).collect()
}

/// One step inwards. An `io::Error` around another error skips that one as its source, so it is opened.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn tls_sentence(error: &rustls::Error, origin: &str) -> String {
    let hint = match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            "--postback-ca FILE trusts another root, --postback-insecure trusts any certificate"
        }
        rustls::Error::InvalidMessage(_) => "it does not speak TLS there. Write http:// in returl",
        _ => "the two sides did not agree on a connection",
    };
    format!("{origin}: {error}; {hint}")
}
