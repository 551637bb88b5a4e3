//! Stands in for the crate of the same name, which reads PKCS#12 key stores.
//!
//! `tcp-stream`, lapin's socket, asks for that crate as soon as TLS is switched on, and it brings some fifty others
//! (DES, RC2, scrypt, ASN.1, …) and a minute of compiling. AutoConnect logs in with a password and never gives a
//! PKCS#12 identity, so what is asked of the crate is answered here: there is no key store, in one sentence.

/// A certificate of a key store.
#[derive(Debug)]
pub enum Certificate {}

/// A private key and its certificates.
#[derive(Debug)]
pub enum PrivateKeyChain {}

/// A key store; there is none.
#[derive(Debug)]
pub enum KeyStore {}

/// PKCS#12 is not read here.
#[derive(Debug)]
pub struct Unsupported;

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PKCS#12 key stores are not supported")
    }
}

impl std::error::Error for Unsupported {}

impl KeyStore {
    /// Refuses.
    ///
    /// # Errors
    /// [`Unsupported`], always.
    pub fn from_pkcs12(_der: &[u8], _password: &str) -> Result<Self, Unsupported> {
        Err(Unsupported)
    }

    /// A key and its certificates.
    pub fn private_key_chain(&self) -> Option<(&str, &PrivateKeyChain)> {
        match *self {}
    }
}

impl PrivateKeyChain {
    /// Its certificates.
    pub fn chain(&self) -> &[Certificate] {
        match *self {}
    }

    /// Its key.
    pub fn key(&self) -> &[u8] {
        match *self {}
    }
}

impl Certificate {
    /// Its encoding.
    pub fn as_der(&self) -> &[u8] {
        match *self {}
    }
}
