//! TLS: versions, ALPN, resumption, and a CA that endangers no other site.

use std::sync::Arc;

use kpay_sandbox::{Config, Sandbox, tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::core::good_pay;
use crate::harness::{Running, exchange, json_of, post, trusting, trusting_with};

#[tokio::test]
async fn both_versions_are_spoken_and_sessions_are_resumed() {
    let running = Running::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let builder = ClientConfig::builder_with_provider(tls::provider()).with_protocol_versions(&[version]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let ca = <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_file(
            running.sandbox.ca(),
        )
        .unwrap();
        roots.add(ca).unwrap();
        let connector = TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, running.connect_plain().await).await.unwrap();
            let answer = exchange(&mut stream, post("/", &good_pay().to_string(), "").as_bytes()).await;
            assert!(json_of(&answer)["retcode"].is_number());
            kinds.push(stream.get_ref().1.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?}");
    }
}

#[tokio::test]
async fn the_cheaper_suite_is_taken_whatever_the_client_names_first() {
    let running = Running::start().await;
    for offered in [&["AES_256", "AES_128"][..], &["AES_256"]] {
        let mut provider = (*tls::provider()).clone();
        let place = |suite: &rustls::SupportedCipherSuite| {
            offered.iter().position(|name| suite.suite().as_str().is_some_and(|own| own.contains(name)))
        };
        provider.cipher_suites.retain(|suite| place(suite).is_some());
        provider.cipher_suites.sort_by_key(place);
        let config = trusting_with(&running.sandbox, provider);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, running.connect_plain().await).await.unwrap();
        let taken = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
        let cheapest = offered.last().unwrap();
        assert!(taken.as_str().unwrap().contains(cheapest), "{taken:?} of {offered:?}");
    }
}

#[tokio::test]
async fn alpn_knows_every_version_that_curl_offers() {
    let running = Running::start().await;
    for protocol in ["h2", "http/1.1", "http/1.0"] {
        let mut config = trusting(&running.sandbox);
        config.alpn_protocols = vec![protocol.into()];
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost").unwrap(), running.connect_plain().await)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    }
}

#[tokio::test]
async fn every_wanted_name_is_covered_and_no_other() {
    let running = Running::with(|config| config.hosts = vec!["shop.test".into()]).await;
    let connect = async |name: &str| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", running.port())).await.unwrap();
        TlsConnector::from(Arc::clone(&running.tls)).connect(name, tcp).await.is_ok()
    };
    for name in [
        "localhost",
        "pay.esicia.com",
        "pay.esicia.rw",
        "kpay-sandbox",
        "host.docker.internal",
        "127.0.0.1",
        "::1",
        "shop.test",
    ] {
        assert!(connect(name).await, "{name}");
    }
    assert!(!connect("example.com").await);
}

#[tokio::test]
async fn two_sandboxes_share_one_folder_and_one_ca() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { certs: folder.path().join("certs"), ..Config::default() };
    let (one, two) = tokio::join!(Sandbox::start(config.clone()), Sandbox::start(config));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.url(), two.url());
    trusting(&one);
    assert_eq!(std::fs::read(one.ca()).unwrap(), std::fs::read(two.ca()).unwrap());
}

#[tokio::test]
async fn a_client_that_names_a_host_gets_a_certificate_without_addresses() {
    let running = Running::start().await;
    for (host, addresses) in [("localhost", false), ("pay.esicia.com", false), ("127.0.0.1", true)] {
        let name = ServerName::try_from(host).unwrap();
        let connector = TlsConnector::from(Arc::clone(&running.tls));
        let stream = connector.connect(name, running.connect_plain().await).await.unwrap();
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let (_, leaf) = <X509Certificate<'_> as FromDer<'_, _>>::from_der(&leaf).unwrap();
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.iter().any(|name| matches!(name, GeneralName::IPAddress(_))), addresses, "{host}: {names:?}");
    }
}
