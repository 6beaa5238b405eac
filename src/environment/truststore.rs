//! A Java trust store (JKS): Java reads no PEM, and `keytool` is not everywhere.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use rustls::pki_types::CertificateDer;

/// The certificates as a trust store. The password only protects it against damage: there is nothing secret in it.
pub(super) fn jks(certificates: &[CertificateDer<'_>], password: &str) -> Vec<u8> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    let text = |text: &str| [&u16::try_from(text.len()).unwrap_or(0).to_be_bytes()[..], text.as_bytes()].concat();
    let mut store = Vec::new();
    store.extend(0xFEED_FEED_u32.to_be_bytes());
    store.extend(number(2));
    store.extend(number(certificates.len()));
    for (index, certificate) in certificates.iter().enumerate() {
        // A trusted certificate: alias, the time it was added, type, DER.
        store.extend(number(2));
        store.extend(text(&format!("root-{index}")));
        store.extend(0_u64.to_be_bytes());
        store.extend(text("X.509"));
        store.extend(number(certificate.len()));
        store.extend_from_slice(certificate);
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    password.encode_utf16().for_each(|unit| digest.update(&unit.to_be_bytes()));
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend_from_slice(digest.finish().as_ref());
    store
}
