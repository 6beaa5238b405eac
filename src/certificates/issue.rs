//! Issuing: the CA, constrained to the names it serves, and leaves from it. Nothing is read or written here.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Also how certificates of ours are recognised: it stands in the CA and, as the issuer, in the leaf.
pub const CA_NAME: &str = "kpay-sandbox development CA";
const DAY: Duration = Duration::from_secs(86_400);
/// Clients refuse more than 398 days; both lives begin a day early, for clocks that are behind.
const LEAF_LIFE: Duration = DAY.saturating_mul(396);
const CA_LIFE: Duration = DAY.saturating_mul(3650);

/// The first moment at which certificates are issued, 2026-01-01: an earlier clock is wrong.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// The last moment at which certificates are issued, 2200-01-01: dates have four digits for the year, and a CA lives for ten.
pub(super) const LATEST: Duration = Duration::from_secs(7_258_118_400);
/// The only host whose e-mail addresses the CA may sign for.
const NO_MAIL: &str = "kpay-sandbox.invalid";

/// A certificate and its key.
pub(super) type Pair = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// The server's certificates, with one key.
pub(super) struct Leaves {
    /// For all names and addresses.
    pub(super) all: CertificateDer<'static>,
    /// For the DNS names only. BoringSSL refuses a certificate with addresses below a CA that limits them.
    pub(super) names_only: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// What certificates are issued for, and when.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// DNS names and addresses.
    pub(super) names: &'a [String],
    /// The present.
    pub(super) now: SystemTime,
}

impl Wanted<'_> {
    /// A new CA, with a new key or with the key of an earlier one. With the earlier key, clients that trust the new CA
    /// accept what the earlier one has signed.
    pub(super) fn ca(self, key: Option<&PrivateKeyDer<'_>>) -> Result<Pair, Error> {
        let key = match key {
            Some(key) => KeyPair::try_from(key.secret_der())?,
            None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        };
        let ca = self.ca_params().self_signed(&key)?;
        Ok((ca.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
    }

    /// The issuer to which a CA's key belongs. All of the CA's parameters but its names are constant, and an
    /// issuer needs no names: so the key is enough, and the CA's certificate need not be read.
    pub(super) fn issuer(self, ca_key: &PrivateKeyDer<'_>) -> Result<Issuer<'static, KeyPair>, Error> {
        Ok(Issuer::new(self.ca_params(), KeyPair::try_from(ca_key.secret_der())?))
    }

    /// New certificates of the server.
    pub(super) fn leaves(self, issuer: &Issuer<'_, KeyPair>) -> Result<Leaves, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = |addresses: bool| {
            let mut params = self.params("kpay-sandbox", LEAF_LIFE);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.use_authority_key_identifier_extension = true;
            for name in self.names {
                match name.parse() {
                    Ok(address) if addresses => params.subject_alt_names.push(SanType::IpAddress(address)),
                    Ok(_) => {}
                    Err(_) => params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?)),
                }
            }
            Ok::<_, Error>(params.signed_by(&key, issuer)?.der().clone())
        };
        let (all, names_only) = (leaf(true)?, leaf(false)?);
        Ok(Leaves { all, names_only, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) })
    }

    fn ca_params(self) -> CertificateParams {
        let mut params = self.params(CA_NAME, CA_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Clients apply the CA's extended key usage to every certificate below it: TLS servers only, so neither e-mail
        // nor code nor TLS clients.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Whoever trusts this CA trusts it for these names only: its key, stolen, opens no other site.
        let address = |address, prefix| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix));
        let subtree = |name: &String| match name.parse() {
            Ok(IpAddr::V4(v4)) if v4.is_loopback() => address([127, 0, 0, 0].into(), 8),
            Ok(v4 @ IpAddr::V4(_)) => address(v4, 32),
            Ok(v6 @ IpAddr::V6(_)) => address(v6, 128),
            Err(_) => GeneralSubtree::DnsName(name.clone()),
        };
        let mut permitted_subtrees: Vec<_> = self.names.iter().map(subtree).collect();
        // A kind of name that is not listed is not limited. To exclude the empty name excludes nothing in openssl, so
        // one host is permitted, which cannot exist (RFC 2606).
        permitted_subtrees.push(GeneralSubtree::Rfc822Name(NO_MAIL.into()));
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        params
    }

    fn params(self, name: &str, life: Duration) -> CertificateParams {
        let mut params = CertificateParams::default();
        // rcgen's is a hash of the key, which several certificates may share: browsers refuse a number that comes again.
        params.serial_number = Some(serial_number());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "kpay-sandbox");
        params.distinguished_name.push(DnType::CommonName, name);
        // No client with a right clock takes a certificate that is dated by a clock which has not been set yet.
        let from = self.now.max(UNIX_EPOCH + EARLIEST) - DAY;
        params.not_before = from.into();
        params.not_after = (from + life).into();
        params
    }
}

/// Returns 127 random bits, as a positive number.
fn serial_number() -> SerialNumber {
    (rand::random::<u128>() >> 1).to_be_bytes().to_vec().into()
}

/// Returns the names and single addresses that a CA may sign for.
pub(super) fn permitted_names(ca: &[u8]) -> Vec<String> {
    let Ok((_, ca)) = X509Certificate::from_der(ca) else { return Vec::new() };
    let Ok(Some(constraints)) = ca.name_constraints() else { return Vec::new() };
    let name = |tree: &x509_parser::extensions::GeneralSubtree<'_>| match &tree.base {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) if bytes.len() == 8 && bytes[4..] == [255; 4] => {
            <[u8; 4]>::try_from(&bytes[..4]).ok().map(|octets| IpAddr::from(octets).to_string())
        }
        GeneralName::IPAddress(bytes) if bytes.len() == 32 && bytes[16..] == [255; 16] => {
            <[u8; 16]>::try_from(&bytes[..16]).ok().map(|octets| IpAddr::from(octets).to_string())
        }
        _ => None,
    };
    constraints.value.permitted_subtrees.iter().flatten().filter_map(name).collect()
}

/// When a certificate ends; `None` when it cannot be read.
pub(super) fn end_of(der: &[u8]) -> Option<jiff::Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    jiff::Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// The first and the last moment of a certificate; `None` when it cannot be read.
pub(super) fn dates(der: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let moment = |seconds| jiff::Timestamp::from_second(seconds).ok().map(SystemTime::from);
    Some((moment(validity.not_before.timestamp())?, moment(validity.not_after.timestamp())?))
}

/// Returns true if clients that trust a CA refuse its certificates for names that it does not list.
pub(super) fn is_limited(ca: &[u8]) -> bool {
    let Ok((_, ca)) = X509Certificate::from_der(ca) else { return false };
    let Ok(Some(constraints)) = ca.name_constraints() else { return false };
    let permitted: Vec<_> = constraints.value.permitted_subtrees.iter().flatten().map(|tree| &tree.base).collect();
    let listed = |kind: fn(&GeneralName<'_>) -> bool| permitted.iter().any(|name| kind(name));
    let names = listed(|name| matches!(name, GeneralName::DNSName(_)));
    let addresses = listed(|name| matches!(name, GeneralName::IPAddress(_)));
    // The empty name and the empty mask permit everything.
    let all = listed(|name| match name {
        GeneralName::DNSName(name) => name.trim_matches('.').is_empty(),
        GeneralName::IPAddress(address) => address[address.len() / 2..].iter().all(|byte| *byte == 0),
        _ => false,
    });
    constraints.critical && names && addresses && !all
}

/// Returns true if clients that trust a CA take its certificates for TLS servers only, and for no e-mail address.
pub(super) fn is_for_tls_servers_only(ca: &[u8]) -> bool {
    let Ok((_, ca)) = X509Certificate::from_der(ca) else { return false };
    let (Ok(Some(usage)), Ok(Some(constraints))) = (ca.extended_key_usage(), ca.name_constraints()) else {
        return false;
    };
    let usage = usage.value;
    let others = usage.any || usage.client_auth || usage.code_signing || usage.email_protection;
    let mut permitted = constraints.value.permitted_subtrees.iter().flatten();
    usage.server_auth && !others && permitted.any(|tree| tree.base == GeneralName::RFC822Name(NO_MAIL))
}

/// Returns true for certificates that were issued here, or by an earlier CA of ours.
pub(crate) fn is_ours(der: &[u8]) -> bool {
    der.windows(CA_NAME.len()).any(|window| window == CA_NAME.as_bytes())
}
