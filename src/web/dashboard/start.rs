//! What a newcomer pastes: a first payment, and how to trust the CA from each language.

use askama::Template;

use super::super::control::Outcome;
use super::super::{Reply, Request, Surfaces};
use super::Frame;
use crate::view::shell_quoted;

#[derive(Template)]
#[template(path = "dashboard-start.html")]
struct Page {
    frame: Frame,
    start: Start,
}

/// The lines.
pub(super) struct Start {
    pub(super) url: String,
    pub(super) lines: Vec<(&'static str, String)>,
}

impl Start {
    pub(super) fn of(surfaces: &Surfaces) -> Start {
        let fact = |name: &str| shell_quoted(surfaces.info[name].as_str().unwrap_or_default());
        let (ca, bundle) = (fact("ca"), fact("bundle"));
        Start {
            url: surfaces.home.url.clone(),
            lines: vec![
                ("A first payment", surfaces.home.curl.clone()),
                ("The CA to trust", ca.clone()),
                ("PHP", format!("php -d curl.cainfo={bundle} -d openssl.cafile={bundle} your-script.php")),
                ("Node", format!("NODE_EXTRA_CA_CERTS={ca} node your-script.js")),
                ("Python", format!("SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle} python3 your-script.py")),
                ("Go", format!("SSL_CERT_FILE={bundle} go run .")),
                (
                    "Java",
                    format!(
                        "keytool -importcert -noprompt -alias kpay-sandbox -file {ca} -keystore trust.p12 -storepass changeit && java -Djavax.net.ssl.trustStore=trust.p12 -Djavax.net.ssl.trustStorePassword=changeit Your.java"
                    ),
                ),
            ],
        }
    }
}

pub(super) fn page(surfaces: &Surfaces, request: &Request) -> Outcome {
    let (frame, start) = (Frame::new(surfaces, request, "start"), Start::of(surfaces));
    Ok(Reply::page(200, &Page { frame, start }))
}
