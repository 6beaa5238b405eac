//! TLS: the provider, the server's acceptor, the configuration for postbacks.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::TlsAcceptor;

/// The one place where the provider of cryptography is chosen. AES-128 first: its suites hash with SHA-256, which
/// processors have instructions for, and AES-256's with SHA-384, which took an eighth of a handshake.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite().as_str().is_some_and(|name| !name.contains("AES_128")));
    Arc::new(provider)
}

/// The server's side: TLS 1.2 and 1.3, h2 and HTTP/1, sessions resumed by ticket. `names_only` is for clients that name a
/// host, `chain` for the others.
pub fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    names_only: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, Error> {
    let (provider, key) = (provider(), || key.clone_key());
    let by_name = ByName {
        named: CertifiedKey::from_der(names_only, key(), &provider)?.into(),
        unnamed: CertifiedKey::from_der(chain, key(), &provider)?.into(),
    };
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(by_name));
    // `curl --http1.0` offers nothing but the last one.
    config.alpn_protocols = ["h2", "http/1.1", "http/1.0"].map(|protocol| protocol.as_bytes().to_vec()).into();
    // Clients mostly name AES-256 first, without meaning anything by it.
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // One to go on with: what each costs is paid in every handshake, and PHP takes none.
    config.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Chooses the certificate by the host that the client names (SNI). A client that connects to an address names none.
/// BoringSSL (Bun, curl_cffi, Electron) refuses addresses in a certificate whose CA limits addresses.
#[derive(Debug)]
struct ByName {
    named: Arc<CertifiedKey>,
    unnamed: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(if hello.server_name().is_some() { &self.named } else { &self.unnamed }))
    }
}

/// What postback targets may be certified by: the system's roots, our own CA, further ones.
pub fn postback_roots(
    own_ca: &CertificateDer<'static>,
    further: &[CertificateDer<'static>],
) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    // A system without roots still has ours; a root that cannot be read is one that verifies nothing.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(further.iter().cloned());
    roots.add(own_ca.clone())?;
    Ok(roots)
}

/// The client's side of postbacks. `insecure` takes any certificate, and then no root is read.
pub fn postback_config(
    own_ca: &CertificateDer<'static>,
    further: &[CertificateDer<'static>],
    insecure: bool,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    if insecure {
        let anything = Arc::new(AnyCertificate(provider()));
        return Ok(builder.dangerous().with_custom_certificate_verifier(anything).with_no_client_auth());
    }
    let roots = postback_roots(own_ca, further)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// `--postback-insecure`: any certificate is taken, whoever made it and for whatever name, so that anybody on
/// the way can read and answer postbacks. That the other side holds its key is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
