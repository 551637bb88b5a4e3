//! An authority that signs one certificate, the broker's; its key is then discarded, so that it cannot sign another.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// What a broker needs for TLS, in PEM.
pub(crate) struct Certified {
    /// The authority that the roles trust, and nothing else does.
    pub(crate) ca: String,
    /// The broker's certificate.
    pub(crate) certificate: String,
    /// Its key.
    pub(crate) key: String,
}

/// Makes an authority and, signed by it, a certificate for brokers at `hosts` (names or addresses).
///
/// # Errors
/// [`rcgen::Error`], above all for a host that cannot be one.
pub(crate) fn make(hosts: &[String]) -> Result<Certified, rcgen::Error> {
    let mut authority = params(Vec::new(), "AutoConnect cluster authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut broker = params(hosts.to_vec(), "AutoConnect broker")?;
    broker.use_authority_key_identifier_extension = true;
    broker.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    broker.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = broker.signed_by(&key, &issuer)?.pem();
    Ok(Certified {
        ca,
        certificate,
        key: key.serialize_pem(),
    })
}

/// A name, and a validity that outlasts the cluster; to renew the certificates, remove the old ones.
fn params(hosts: Vec<String>, name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
